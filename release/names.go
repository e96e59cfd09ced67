package main

import (
	"fmt"
	"regexp"
	"strings"
)

// placeholder is the image of a release that is not made to be published.
const placeholder = "registry.example.com/sts-webhook"

// Build metadata (v1.2.3+x) is left out: an image tag cannot have a plus sign.
var versionForm = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)

func checkVersion(version string) error {
	if !versionForm.MatchString(version) {
		return fmt.Errorf("version %q: want vX.Y.Z or vX.Y.Z-PRE, as in make release VERSION=v0.1.0", version)
	}
	return nil
}

// A registry with an optional port, names, and a tag or a digest or both.
var imageForm = regexp.MustCompile(`^([a-z0-9.-]+(:\d+)?/)?[a-z0-9._-]+(/[a-z0-9._-]+)*(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?$`)

// imageReference adds the version as the tag of an image that has neither tag nor digest.
func imageReference(image, version string) (string, error) {
	if image == "" {
		image = placeholder
	}
	if !imageForm.MatchString(image) {
		return "", fmt.Errorf("image %q: want REGISTRY/NAME, REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST, as in IMAGE=%s", image, placeholder)
	}
	if last := image[strings.LastIndex(image, "/")+1:]; !strings.ContainsAny(last, ":@") {
		image += ":" + version
	}
	return image, nil
}
