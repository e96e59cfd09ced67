package release

import (
	"debug/elf"
	"debug/macho"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sts-mutating-webhook/test/kit"
)

func (s *suite) testRefused(t *testing.T) {
	clone := s.cloneTo(t, "refused")
	refuse := func(want string, args ...string) {
		t.Helper()
		out, err := s.try(clone, "make", append([]string{"release"}, args...)...)
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("make release %s: got %v and\n%s\nwant an error with %q", strings.Join(args, " "), err, out, want)
		}
		if _, err := os.Stat(filepath.Join(clone, "dist")); !os.IsNotExist(err) {
			t.Errorf("make release %s left dist/: %v", strings.Join(args, " "), err)
		}
	}
	refuse(`version "": want vX.Y.Z`)
	refuse(`version "0.1.0": want vX.Y.Z`, "VERSION=0.1.0")
	refuse(`image "Team/App": want REGISTRY/NAME`, "VERSION="+version, "IMAGE=Team/App")
	readme := filepath.Join(clone, "README.md")
	kit.Must(t, os.WriteFile(readme, []byte("changed"), 0o644))
	refuse("README.md", "VERSION="+version)
}

func (s *suite) testReproducible(t *testing.T) {
	var dists []map[string]string
	for _, end := range []string{"a", "b/in/a/longer/path"} {
		clone := s.cloneTo(t, end)
		// The later clone has a tag, which Go would take for the version, and a later check-out time.
		if end != "a" {
			s.run(t, clone, "git", "tag", "v1.2.3")
		}
		s.stream(t, clone, "make", "release", "VERSION="+version, "IMAGE="+image)
		if out := s.run(t, clone, "git", "status", "--porcelain"); out != "" {
			t.Errorf("the release changed the checkout:\n%s", out)
		}
		dists = append(dists, readFiles(t, filepath.Join(clone, "dist")))
		s.clone = clone
	}
	if got, want := slices.Sorted(maps.Keys(dists[1])), slices.Sorted(maps.Keys(dists[0])); !slices.Equal(got, want) {
		t.Fatalf("files: got %v, and %v in the other clone", got, want)
	}
	for name, content := range dists[0] {
		if dists[1][name] != content {
			t.Errorf("%s: the clones differ: %d and %d bytes, the first difference is at %d", name, len(content), len(dists[1][name]),
				firstDifference(content, dists[1][name]))
		}
	}
	s.checkFiles(t, dists[1])
}

// checkFiles looks into each file of a release.
func (s *suite) checkFiles(t *testing.T, dist map[string]string) {
	dir := filepath.Join(s.clone, "dist")
	out := s.run(t, dir, "sha256sum", "--check", "--strict", "checksums.txt")
	if got, want := strings.Count(out, ": OK\n"), len(dist)-1; got != want {
		t.Errorf("checksums.txt: got %d files, want %d:\n%s", got, want, out)
	}
	wantVersion := "sts-webhook " + version + " (" + s.revision[:12] + ") "
	for platform, command := range map[string][]string{"linux/amd64": nil, "linux/arm64": {"qemu-aarch64-static"}} {
		command = append(command, filepath.Join(dir, "sts-webhook-"+strings.ReplaceAll(platform, "/", "-")), "--version")
		got := s.run(t, dir, command[0], command[1:]...)
		if !strings.HasPrefix(got, wantVersion) || !strings.HasSuffix(got, " "+platform+"\n") {
			t.Errorf("%s: got %q, want %q ... %q", strings.Join(command, " "), got, wantVersion, platform)
		}
	}
	for name, cpu := range map[string]macho.Cpu{"sts-webhook-darwin-amd64": macho.CpuAmd64, "sts-webhook-darwin-arm64": macho.CpuArm64} {
		if program, err := macho.Open(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		} else if program.Close(); program.Cpu != cpu {
			t.Errorf("%s: got a program for %s, want %s", name, program.Cpu, cpu)
		}
	}
	program, err := elf.Open(filepath.Join(dir, "sts-webhook-linux-amd64"))
	kit.Must(t, err)
	defer program.Close()
	if libraries, err := program.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("sts-webhook-linux-amd64: got the shared libraries %v, %v, want none", libraries, err)
	}
	for name, content := range dist {
		if strings.HasSuffix(name, ".cdx.json") {
			checkSBOM(t, name, content)
		}
	}
}

func checkSBOM(t *testing.T, name, content string) {
	t.Helper()
	var sbom struct {
		BOMFormat string
		Metadata  struct {
			Component struct{ Name, Version string }
		}
		Components []struct {
			Name   string
			Hashes []any
		}
	}
	kit.Must(t, json.Unmarshal([]byte(content), &sbom))
	if c := sbom.Metadata.Component; sbom.BOMFormat != "CycloneDX" || c.Name != "sts-mutating-webhook" || c.Version != version {
		t.Errorf("%s: got %s of %s %s, want CycloneDX of sts-mutating-webhook %s", name, sbom.BOMFormat, c.Name, c.Version, version)
	}
	hashed := 0
	for _, c := range sbom.Components {
		if len(c.Hashes) > 0 {
			hashed++
		}
	}
	if hashed < 20 || !strings.Contains(content, `"k8s.io/client-go"`) {
		t.Errorf("%s: got %d components with a hash, want those of the program, with k8s.io/client-go", name, hashed)
	}
}

func readFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	kit.Must(t, err)
	files := map[string]string{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		kit.Must(t, err)
		files[entry.Name()] = string(content)
	}
	return files
}

func firstDifference(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
