package cluster

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// untar returns the members of an archive by name; directories end in a slash.
func untar(t *testing.T, archive []byte) map[string]*tarMember {
	t.Helper()
	members := map[string]*tarMember{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return members
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if members[header.Name] != nil {
			t.Errorf("archive: %s is in it twice", header.Name)
		}
		members[header.Name] = &tarMember{header, content}
	}
}

type tarMember struct {
	header  *tar.Header
	content []byte
}

func TestBuildImageWritesALoadableArchive(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, []byte("from disk"), 0o600); err != nil {
		t.Fatal(err)
	}
	img := Image{
		Name: "example:1",
		Files: []ImageFile{
			{Path: "/a/b/program", Mode: 0o755, Source: source},
			{Path: "/a/text", Content: []byte("given")},
		},
		Entrypoint: []string{"/a/b/program"},
		Env:        []string{"KEY=value"},
		User:       "1:2",
		Labels:     map[string]string{"label": "text"},
	}
	var archives [2][]byte
	for i := range archives {
		archive := filepath.Join(dir, "image.tar")
		if err := BuildImage(archive, img); err != nil {
			t.Fatal(err)
		}
		archives[i], _ = os.ReadFile(archive)
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two builds of the same image differ")
	}

	members := untar(t, archives[0])
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(members["manifest.json"].content, &manifest); err != nil {
		t.Fatal(err)
	}
	if got := manifest[0].RepoTags; !slices.Equal(got, []string{"example:1"}) {
		t.Errorf("tags: got %v", got)
	}
	var config struct {
		OS     string
		Config struct {
			Entrypoint, Env []string
			User            string
			Labels          map[string]string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal(members[manifest[0].Config].content, &config); err != nil {
		t.Fatal(err)
	}
	layer := members[manifest[0].Layers[0]].content
	sum := sha256.Sum256(layer)
	if want := []string{"sha256:" + hex.EncodeToString(sum[:])}; !slices.Equal(config.RootFS.DiffIDs, want) {
		t.Errorf("diff ids: got %v, want %v", config.RootFS.DiffIDs, want)
	}
	got := config.Config
	if config.OS != "linux" || !slices.Equal(got.Entrypoint, img.Entrypoint) || !slices.Equal(got.Env, img.Env) ||
		got.User != img.User || !maps.Equal(got.Labels, img.Labels) {
		t.Errorf("configuration: got %+v on %s, want that of %+v", got, config.OS, img)
	}
	expectFiles(t, layer, map[string]string{"a/": "", "a/b/": "", "a/b/program": "from disk", "a/text": "given"})
	if mode := untar(t, layer)["a/b/program"].header.Mode; mode != 0o755 {
		t.Errorf("mode of the program: got %o, want 755", mode)
	}
}

func expectFiles(t *testing.T, layer []byte, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for name, member := range untar(t, layer) {
		got[name] = string(member.content)
		if h := member.header; h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != 0 {
			t.Errorf("%s: owner %d:%d, time %v; want root and the epoch", name, h.Uid, h.Gid, h.ModTime)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("files: got %v, want %v", got, want)
	}
}

func TestBuildImageRefusesAndLeavesNoArchive(t *testing.T) {
	tests := map[string]struct {
		file ImageFile
		want string
	}{
		"a relative path":         {ImageFile{Path: "program"}, "not absolute"},
		"a source that is absent": {ImageFile{Path: "/program", Source: "/does/not/exist"}, "no such file"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			archive := filepath.Join(t.TempDir(), "image.tar")
			err := BuildImage(archive, Image{Name: "example:1", Files: []ImageFile{test.file}})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error: got %v, want one with %q", err, test.want)
			}
			if exists(archive) {
				t.Error("an archive was left")
			}
		})
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
	if got := instructions(final, "ENTRYPOINT"); !slices.Equal(got, []string{string(entrypoint)}) {
		t.Errorf("ENTRYPOINT: got %v, want %s", got, entrypoint)
	}
	if got := instructions(final, "USER"); !slices.Equal(got, []string{img.User}) {
		t.Errorf("USER: got %v, want %s", got, img.User)
	}
	if !regexp.MustCompile(`^[1-9][0-9]*:[1-9][0-9]*$`).MatchString(img.User) {
		t.Errorf("user %s: it is not numeric or is root", img.User)
	}
	var want []string
	for _, f := range img.Files {
		want = append(want, "--from=build "+f.Source+" "+f.Path)
	}
	got := instructions(final, "COPY")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("COPY: got %q, want %q", got, want)
	}
	want = nil
	for name, value := range img.Labels {
		want = append(want, name+"="+value)
	}
	got = instructions(final, "LABEL")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("LABEL: got %q, want %q", got, want)
	}
	for _, name := range []string{"CMD", "ENV", "RUN", "ADD"} {
		if got := instructions(final, name); got != nil {
			t.Errorf("%s: got %q, want none: WebhookImage has none", name, got)
		}
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
