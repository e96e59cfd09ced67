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

// writeInstall joins the manifests in the order in which kubectl apply -f manifests/ takes them.
func (r *release) writeInstall(context.Context) error {
	all, err := r.join("install.yaml", "manifests")
	if err != nil {
		return err
	}
	if n := strings.Count(all, developmentImage); n != 1 {
		return fmt.Errorf("set the image of install.yaml: the manifests have %q %d times, want once", developmentImage, n)
	}
	all = strings.Replace(all, developmentImage, "image: "+r.image+"\n", 1)
	if err := os.WriteFile(r.path("install.yaml"), []byte(all), 0o644); err != nil {
		return fmt.Errorf("write install.yaml: %w", err)
	}
	r.report("install.yaml, with the image %s", r.image)
	return nil
}

// writeOptional joins each directory of manifests/optional/ likewise.
func (r *release) writeOptional(context.Context) error {
	dirs, err := filepath.Glob("manifests/optional/*")
	if err != nil || len(dirs) == 0 {
		return fmt.Errorf("find manifests/optional/*: found %v, %v; run release at the root of the checkout", dirs, err)
	}
	var names []string
	for _, dir := range dirs {
		name := "optional-" + filepath.Base(dir) + ".yaml"
		all, err := r.join(name, dir)
		if err != nil {
			return err
		}
		if err := os.WriteFile(r.path(name), []byte(all), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		names = append(names, name)
	}
	r.report("%s", strings.Join(names, ", "))
	return nil
}

// join returns the manifests of a directory as one file of that name. They are joined as text, so that their comments are there,
// too, where the objects are applied from.
func (r *release) join(name, dir string) (string, error) {
	files, err := filepath.Glob(dir + "/*.yaml") // sorted
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("find %s/*.yaml: found %v, %v; run release at the root of the checkout", dir, files, err)
	}
	var manifests []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read manifest: %w", err)
		}
		manifests = append(manifests, fmt.Sprintf("# %s\n%s", file, text))
	}
	return fmt.Sprintf("# sts-webhook %s, commit %s: kubectl apply -f %s\n", r.version, r.revision, name) + strings.Join(manifests, "---\n"), nil
}
