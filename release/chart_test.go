package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The chart of a release differs from the checkout's in its image alone, and holds the manifests that the checkout's has a link to.
func TestChartHasTheImage(t *testing.T) {
	t.Chdir("..") // the root of the checkout
	digest := "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for image, want := range map[string]map[string]any{
		"r.example:5000/team/app:v1.2.3":           {"repository": "r.example:5000/team/app", "tag": "v1.2.3", "digest": ""},
		"r.example/app@" + digest:                  {"repository": "r.example/app", "tag": "", "digest": digest},
		"r.example:5000/team/app:v1.2.3@" + digest: {"repository": "r.example:5000/team/app", "tag": "v1.2.3", "digest": digest},
	} {
		t.Run(image, func(t *testing.T) {
			r := &release{image: image}
			to, err := r.copyChart(filepath.Join(t.TempDir(), "chart"))
			if err != nil {
				t.Fatal(err)
			}
			before, got := objects(t, chart+"/values.yaml")[0].(map[string]any), objects(t, to+"/values.yaml")[0].(map[string]any)
			for name, value := range want {
				before["image"].(map[string]any)[name] = value
			}
			if diff := cmp.Diff(before, got); diff != "" {
				t.Errorf("values.yaml (-want +got):\n%s", diff)
			}
			if _, err := os.Stat(to + "/manifests/optional/gate/10-policy.yaml"); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := releaseValues("image:\n  repository: another\n", "r.example/app:v1"); err == nil {
		t.Error("values without the image's lines: want an error")
	}
}
