package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"
)

// kubectl apply -k . installs what kubectl apply -f manifests/ does, in the same order.
func TestKustomizationListsTheManifests(t *testing.T) {
	text, err := os.ReadFile("kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var kustomization struct{ Resources []string }
	if err := yaml.Unmarshal(text, &kustomization); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("manifests/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(kustomization.Resources, files) {
		t.Errorf("resources are %q, want %q", kustomization.Resources, files)
	}
}
