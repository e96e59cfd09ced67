package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// chart is the chart, helm the module that pins Helm. Both are named from the checkout's root.
const chart, helm = "charts/sts-webhook", "test/chart/helm"

// developmentValues are the lines of the chart's values that a release changes.
const developmentValues = `image:
  repository: sts-webhook
  tag: "" # empty: the appVersion of the chart
  digest: "" # sha256:..., in place of the tag
`

// packageChart writes the chart with the version and the image of the release. Helm takes the time stamps in the package from the
// variable.
func (r *release) packageChart(ctx context.Context) error {
	r.report("the chart, by Helm")
	dir, err := os.MkdirTemp("", "sts-webhook-chart")
	if err != nil {
		return fmt.Errorf("package chart: %w", err)
	}
	defer os.RemoveAll(dir)
	source, err := r.copyChart(filepath.Join(dir, "sts-webhook"))
	if err != nil {
		return fmt.Errorf("package chart: %w", err)
	}
	destination, err := filepath.Abs(r.dir)
	if err != nil {
		return fmt.Errorf("package chart: %w", err)
	}
	_, err = command(ctx, []string{fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.date.Unix()), "CGO_ENABLED=0"}, "go", "-C", helm, "tool", "helm", "package", source,
		"--version", strings.TrimPrefix(r.version, "v"), "--app-version", r.version, "--destination", destination)
	return err
}

// copyChart copies the chart into a directory, with its link to manifests/ followed, and sets the image.
func (r *release) copyChart(to string) (string, error) {
	if err := os.CopyFS(to, os.DirFS(chart)); err != nil {
		return "", err
	}
	manifests := filepath.Join(to, "manifests")
	if err := os.Remove(manifests); err != nil { // the link, which leads nowhere from there
		return "", err
	}
	if err := os.CopyFS(manifests, os.DirFS("manifests")); err != nil {
		return "", err
	}
	name := filepath.Join(to, "values.yaml")
	values, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	text, err := releaseValues(string(values), r.image)
	if err != nil {
		return "", err
	}
	return to, os.WriteFile(name, []byte(text), 0o644)
}

// releaseValues sets the image of the chart's values.
func releaseValues(values, image string) (string, error) {
	if n := strings.Count(values, developmentValues); n != 1 {
		return "", fmt.Errorf("set the image in values.yaml: it has the lines\n%s%d times, want once", developmentValues, n)
	}
	repository, digest, _ := strings.Cut(image, "@")
	tag := ""
	if i := strings.LastIndex(repository, ":"); i > strings.LastIndex(repository, "/") {
		repository, tag = repository[:i], repository[i+1:]
	}
	return strings.Replace(values, developmentValues, fmt.Sprintf("image:\n  repository: %s\n  tag: %q # empty: the appVersion of the chart\n  digest: %q # sha256:..., in place of the tag\n",
		repository, tag, digest), 1), nil
}
