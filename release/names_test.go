package main

import (
	"strings"
	"testing"
)

func TestVersions(t *testing.T) {
	for version, good := range map[string]bool{
		"v0.1.0": true, "v1.22.333": true, "v1.0.0-rc.1": true, "v1.0.0-0-x": true,
		"": false, "0.1.0": false, "v0.1": false, "v01.1.0": false, "v1.0.0-": false, "v1.0.0-a..b": false,
		"v1.0.0+build": false, "v1.0.0-a b": false, "v1.0.0\n": false, "ee122b8-dirty": false,
	} {
		err := checkVersion(version)
		if good != (err == nil) {
			t.Errorf("version %q: got the error %v, want one: %t", version, err, !good)
		}
		if err != nil && !strings.Contains(err.Error(), "make release VERSION=v0.1.0") {
			t.Errorf("version %q: the error %q does not say what to write", version, err)
		}
	}
}

func TestImageReferences(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0a", 32)
	for image, want := range map[string]string{
		"":                                "registry.example.com/sts-webhook:v1.2.3",
		"registry.example.com/team/app":   "registry.example.com/team/app:v1.2.3",
		"localhost:5000/app":              "localhost:5000/app:v1.2.3",
		"localhost:5000/app:tag":          "localhost:5000/app:tag",
		"app":                             "app:v1.2.3",
		"registry.example/app" + digest:   "registry.example/app" + digest,
		"registry.example/app:1" + digest: "registry.example/app:1" + digest,
	} {
		if got, err := imageReference(image, "v1.2.3"); got != want || err != nil {
			t.Errorf("image %q: got %q, %v, want %q", image, got, err, want)
		}
	}
	for _, image := range []string{"Registry/App", "a b", "app:", "app@sha256:0", "app\nprivileged: true", "https://registry.example/app"} {
		if got, err := imageReference(image, "v1.2.3"); err == nil || !strings.Contains(err.Error(), "want REGISTRY/NAME") {
			t.Errorf("image %q: got %q, %v, want an error that says what to write", image, got, err)
		}
	}
}
