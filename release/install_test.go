package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// install.yaml holds the objects of manifests/ in their order, and differs in nothing but the image.
func TestInstallIsTheManifestsWithAnImage(t *testing.T) {
	t.Chdir("..") // the root of the checkout
	r := &release{version: "v1.2.3", image: "registry.example/app:v1.2.3", dir: t.TempDir(), log: io.Discard}
	if err := r.writeInstall(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("manifests/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var want []any
	for _, file := range files {
		want = append(want, objects(t, file)...)
	}
	got := objects(t, r.path("install.yaml"))
	images := 0
	difference := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool {
		return strings.HasSuffix(p.GoString(), `["image"]`)
	}, cmp.Comparer(func(a, b any) bool {
		images++
		return a == "sts-webhook:latest" && b == r.image || b == "sts-webhook:latest" && a == r.image
	})))
	if difference != "" || images == 0 || len(got) < len(files) {
		t.Errorf("got %d objects from %d files; -manifests +install.yaml:\n%s", len(got), len(files), difference)
	}
}

// Each directory of manifests/optional/ is one file with the same objects in the same order.
func TestOptionalManifestsAreInTheRelease(t *testing.T) {
	t.Chdir("..")
	r := &release{version: "v1.2.3", dir: t.TempDir(), log: io.Discard}
	if err := r.writeOptional(t.Context()); err != nil {
		t.Fatal(err)
	}
	dirs, err := os.ReadDir("manifests/optional")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		files, err := filepath.Glob("manifests/optional/" + dir.Name() + "/*")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: got %v, %v, want files", dir.Name(), files, err)
		}
		var want []any
		for _, file := range files {
			want = append(want, objects(t, file)...)
		}
		if difference := cmp.Diff(want, objects(t, r.path("optional-"+dir.Name()+".yaml"))); difference != "" {
			t.Errorf("-manifests +optional-%s.yaml:\n%s", dir.Name(), difference)
		}
	}
	if got, err := os.ReadDir(r.dir); err != nil || len(got) != len(dirs) {
		t.Errorf("got %v, %v, want a file for each of %v", got, err, dirs)
	}
}

func objects(t *testing.T, file string) []any {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []any
	for _, part := range strings.Split(string(text), "\n---\n") {
		var object any
		if err := yaml.Unmarshal([]byte(part), &object); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if object != nil {
			all = append(all, object)
		}
	}
	return all
}
