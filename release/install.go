package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// developmentImage is the line of the manifests that a release changes.
const developmentImage = "image: sts-webhook:latest\n"

// writeInstall joins the manifests in the order in which kubectl apply -f manifests/ takes them. They are joined as text, so that
// their comments are there, too, where the objects are applied from.
func (r *release) writeInstall(context.Context) error {
	files, err := filepath.Glob("manifests/*.yaml") // sorted
	if err != nil || len(files) == 0 {
		return fmt.Errorf("find manifests/*.yaml: found %v, %v; run release at the root of the checkout", files, err)
	}
	var manifests []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read manifest: %w", err)
		}
		manifests = append(manifests, fmt.Sprintf("# %s\n%s", file, text))
	}
	all := strings.Join(manifests, "---\n")
	if n := strings.Count(all, developmentImage); n != 1 {
		return fmt.Errorf("set the image of install.yaml: the manifests have %q %d times, want once", developmentImage, n)
	}
	all = fmt.Sprintf("# sts-webhook %s, commit %s: kubectl apply -f install.yaml\n", r.version, r.revision) +
		strings.Replace(all, developmentImage, "image: "+r.image+"\n", 1)
	if err := os.WriteFile(r.path("install.yaml"), []byte(all), 0o644); err != nil {
		return fmt.Errorf("write install.yaml: %w", err)
	}
	r.report("install.yaml, with the image %s", r.image)
	return nil
}
