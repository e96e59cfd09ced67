package cluster

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// untar returns the contents of an archive by name, and a line about each member; directories end in a slash.
func untar(t *testing.T, archive []byte) (contents map[string]string, lines []string) {
	t.Helper()
	contents = map[string]string{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return contents, lines
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := contents[h.Name]; twice {
			t.Errorf("archive: %s is in it twice", h.Name)
		}
		contents[h.Name] = string(content)
		lines = append(lines, fmt.Sprintf("%s mode %o owner %d:%d time %d size %d", h.Name, h.Mode, h.Uid, h.Gid, h.ModTime.Unix(), len(content)))
	}
}

func TestBuildImageWritesALoadableArchive(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, []byte("from disk"), 0o600); err != nil {
		t.Fatal(err)
	}
	var archives [2][]byte
	for i := range archives {
		archive := filepath.Join(dir, "image.tar")
		if err := BuildImage(archive, Image{
			Name:       "example:1",
			Files:      []ImageFile{{Path: "/a/b/program", Mode: 0o755, Source: source}, {Path: "/a/empty"}},
			Entrypoint: []string{"/a/b/program"},
			Env:        []string{"KEY=value"},
			User:       "1:2",
			Labels:     map[string]string{"label": "text"},
		}); err != nil {
			t.Fatal(err)
		}
		archives[i], _ = os.ReadFile(archive)
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two builds of the same image differ")
	}
	image, _ := untar(t, archives[0])
	layer, members := untar(t, []byte(image["layer.tar"]))
	if want := []string{
		"a/ mode 755 owner 0:0 time 0 size 0",
		"a/b/ mode 755 owner 0:0 time 0 size 0",
		"a/b/program mode 755 owner 0:0 time 0 size 9",
		"a/empty mode 644 owner 0:0 time 0 size 0",
	}; !slices.Equal(members, want) {
		t.Errorf("files: got %q, want %q", members, want)
	}
	if got := layer["a/b/program"]; got != "from disk" {
		t.Errorf("program: got %q", got)
	}
	config := fmt.Sprintf(`{"architecture":"%s",`+
		`"config":{"Entrypoint":["/a/b/program"],"Env":["KEY=value"],"Labels":{"label":"text"},"User":"1:2"},"created":"1970-01-01T00:00:00Z",`+
		`"os":"linux","rootfs":{"diff_ids":["sha256:%x"],"type":"layers"}}`, runtime.GOARCH, sha256.Sum256([]byte(image["layer.tar"])))
	name := fmt.Sprintf("%x.json", sha256.Sum256([]byte(config)))
	if want := map[string]string{
		name:            config,
		"layer.tar":     image["layer.tar"],
		"manifest.json": `[{"Config":"` + name + `","Layers":["layer.tar"],"RepoTags":["example:1"]}]`,
	}; !maps.Equal(image, want) {
		t.Errorf("archive: got %q, want %q", image, want)
	}
}

func TestBuildImageRefusesAndLeavesNoArchive(t *testing.T) {
	for want, file := range map[string]ImageFile{
		"not absolute": {Path: "program"},
		"no such file": {Path: "/program", Source: "/does/not/exist"},
	} {
		archive := filepath.Join(t.TempDir(), "image.tar")
		err := BuildImage(archive, Image{Name: "example:1", Files: []ImageFile{file}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want an error with %q", file, err, want)
		}
		if exists(archive) {
			t.Errorf("%v: an archive was left", file)
		}
	}
}

// The Dockerfile and WebhookImage must make the same image. The Dockerfile is read
// here; test/release builds it.
func TestDockerfileAndWebhookImageAgree(t *testing.T) {
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	build, final, ok := strings.Cut(string(text), "\nFROM scratch\n")
	if !ok || strings.Contains(final, "\nFROM ") {
		t.Fatal("Dockerfile: the last stage is not FROM scratch")
	}
	img := WebhookImage("/sts-webhook", "$VERSION", "$REVISION")

	entrypoint, _ := json.Marshal(img.Entrypoint)
	var files, labels []string
	for _, f := range img.Files {
		files = append(files, "--from=build "+f.Source+" "+f.Path)
	}
	for name, value := range img.Labels {
		labels = append(labels, name+"="+value)
	}
	for name, want := range map[string][]string{
		"ENTRYPOINT": {string(entrypoint)}, "USER": {img.User}, "COPY": files, "LABEL": labels,
		// WebhookImage has none of these.
		"CMD": nil, "ENV": nil, "RUN": nil, "ADD": nil,
	} {
		got := instructions(final, name)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if !regexp.MustCompile(`^[1-9][0-9]*:[1-9][0-9]*$`).MatchString(img.User) {
		t.Errorf("user %s: it is not numeric or is root", img.User)
	}
	for _, want := range []string{"CGO_ENABLED=0 ", " go build -trimpath ", `-ldflags "-s -w ` +
		`-X sts-mutating-webhook/internal/app.version=$VERSION -X sts-mutating-webhook/internal/app.revision=$REVISION"`} {
		if !strings.Contains(build, want) {
			t.Errorf("build stage: %s is missing", want)
		}
	}
}

// instructions returns the arguments of each Dockerfile instruction of that name.
func instructions(stage, name string) []string {
	var all []string
	for line := range strings.Lines(stage) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			all = append(all, strings.TrimSpace(rest))
		}
	}
	return all
}
