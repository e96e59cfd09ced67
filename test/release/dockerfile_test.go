package release

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
)

const caCertificates = "/etc/ssl/certs/ca-certificates.crt"

// testDockerfile builds the Dockerfile of the clone, the normal way but for the base image, for two architectures into one image.
func (s *suite) testDockerfile(t *testing.T) {
	goImage := s.loadGoImage(t)
	env := s.goEnv(t, "GOROOT", "GOMODCACHE", "GOCACHE")
	s.run(t, s.clone, "go", "mod", "download") // into the cache that the build reads
	name := image + ":" + version
	s.stream(t, s.clone, "buildah", append(s.buildah, "build", "--isolation", "chroot", "--pull=never",
		"--platform", "linux/amd64,linux/arm64", "--manifest", name,
		// Docker sets BUILDPLATFORM, and so does a newer buildah than Debian's.
		"--build-arg", "BUILDPLATFORM=linux/"+runtime.GOARCH,
		"--build-arg", "GO_IMAGE="+goImage, "--build-arg", "VERSION="+version, "--build-arg", "REVISION="+s.revision,
		"--volume", env["GOROOT"]+":/usr/local/go:ro",
		"--volume", filepath.Join(env["GOMODCACHE"], "cache/download")+":/proxy:ro",
		"--volume", env["GOCACHE"]+":/cache",
		".")...)

	var list struct {
		Manifests []struct {
			Digest   string
			Platform struct{ Architecture, OS string }
		}
	}
	kit.Must(t, json.Unmarshal([]byte(s.run(t, ".", "buildah", append(s.buildah, "manifest", "inspect", name)...)), &list))
	var platforms []string
	for _, m := range list.Manifests {
		platforms = append(platforms, m.Platform.OS+"/"+m.Platform.Architecture)
	}
	slices.Sort(platforms) // they are built at the same time
	if got, want := strings.Join(platforms, " "), "linux/amd64 linux/arm64"; got != want {
		t.Fatalf("platforms of the image: got %s, want %s", got, want)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		s.checkImage(t, name, arch)
	}
}

// loadGoImage stands in for golang:1.26-bookworm: a shell, and where Go finds what is mounted.
func (s *suite) loadGoImage(t *testing.T) string {
	t.Helper()
	const name = "localhost/go:1"
	archive := filepath.Join(t.TempDir(), "go.tar")
	kit.Must(t, cluster.BuildImage(archive, cluster.Image{
		Name: name,
		Files: []cluster.ImageFile{
			{Path: "/bin/sh", Mode: 0o755, Source: "/bin/busybox"},
			{Path: "/tmp/empty"}, // go build needs the directory
			{Path: caCertificates, Source: caCertificates},
		},
		Env: []string{"PATH=/usr/local/go/bin:/bin", "GOPROXY=file:///proxy", "GOSUMDB=off", "GOTOOLCHAIN=local", "GOCACHE=/cache"},
	}))
	s.run(t, ".", "buildah", append(s.buildah, "pull", "--quiet", "docker-archive:"+archive)...)
	return name
}

// checkImage holds the image of one architecture to what it promises, and starts its program.
func (s *suite) checkImage(t *testing.T, name, arch string) {
	container := strings.TrimSpace(s.run(t, ".", "buildah", append(s.buildah, "from", "--pull=never", "--arch", arch, name)...))
	var inspected struct {
		OCIv1 struct {
			Architecture string
			Config       struct {
				User       string
				Entrypoint []string
				Labels     map[string]string
			}
		}
	}
	kit.Must(t, json.Unmarshal([]byte(s.run(t, ".", "buildah", append(s.buildah, "inspect", container)...)), &inspected))
	config := inspected.OCIv1.Config
	if got := inspected.OCIv1.Architecture; got != arch {
		t.Errorf("%s: got the architecture %s", arch, got)
	}
	want := cluster.WebhookImage("/sts-webhook", version, s.revision)
	if config.User != want.User || strings.Join(config.Entrypoint, " ") != strings.Join(want.Entrypoint, " ") {
		t.Errorf("%s: got user %s, entry point %q, want %s, %q", arch, config.User, config.Entrypoint, want.User, want.Entrypoint)
	}
	for label, value := range want.Labels {
		if got := config.Labels[label]; got != value {
			t.Errorf("%s: label %s: got %q, want %q", arch, label, got, value)
		}
	}
	root := strings.TrimSpace(s.run(t, ".", "buildah", append(s.buildah, "mount", container)...))
	for _, file := range want.Files {
		if info, err := os.Stat(filepath.Join(root, file.Path)); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: %s: got %v, %v, want a file", arch, file.Path, info, err)
		}
	}
	command := []string{filepath.Join(root, "sts-webhook")}
	if arch == "arm64" {
		command = []string{"qemu-aarch64-static", command[0]}
	}
	got, err := s.try(".", command[0], append(command[1:], "--version")...)
	if prefix, suffix := "sts-webhook "+version+" ("+s.revision[:12]+") ", " linux/"+arch+"\n"; err != nil || !strings.HasPrefix(got, prefix) || !strings.HasSuffix(got, suffix) {
		t.Errorf("%s: --version: got %q, %v, want %q ... %q", arch, got, err, prefix, suffix)
	}
	// A command that works: it decides about real StatefulSets.
	table, err := s.try(s.clone, command[0], append(command[1:], "plan", "-f", "docs/examples/rules.yaml")...)
	if row := "topology.kubernetes.io/zone=b"; err != nil || !strings.Contains(table, row) {
		t.Errorf("%s: plan: got %v and\n%s\nwant a row with %s", arch, err, table, row)
	}
	s.run(t, ".", "buildah", append(s.buildah, "rm", container)...)
}

func (s *suite) goEnv(t *testing.T, names ...string) map[string]string {
	t.Helper()
	values := map[string]string{}
	kit.Must(t, json.Unmarshal([]byte(s.run(t, ".", "go", append([]string{"env", "-json"}, names...)...)), &values))
	return values
}
