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

// kubectl delete -f manifests/ deletes in the order of the files: first what sends pods to the webhook, then what answers them.
func TestWebhookConfigurationsAreDeletedFirst(t *testing.T) {
	files, err := filepath.Glob("manifests/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, file := range files[:min(3, len(files))] {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var object struct{ Kind string }
		if err := yaml.Unmarshal(text, &object); err != nil {
			t.Fatal(err)
		}
		got = append(got, object.Kind)
	}
	// What is in a namespace is deleted some seconds after the namespace itself.
	want := []string{"Namespace", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}
	if !slices.Equal(got, want) {
		t.Errorf("kinds of the first files: got %q, want %q", got, want)
	}
}
