package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

const (
	helm  = "helm.sh/helm/v4/cmd/helm@v4.3.2"
	chart = "charts/sts-webhook"
)

// packageChart writes the chart with the version of the release. Helm takes the time stamps in the package from the variable.
func (r *release) packageChart(ctx context.Context) error {
	if _, err := os.Stat(chart); errors.Is(err, fs.ErrNotExist) {
		r.report("NO CHART: %s does not exist", chart)
		return nil
	}
	r.report("the chart, by Helm")
	_, err := command(ctx, []string{fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.date.Unix())}, "go", "run", helm, "package", chart,
		"--version", strings.TrimPrefix(r.version, "v"), "--app-version", r.version, "--destination", r.dir)
	return err
}
