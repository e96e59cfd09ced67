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
