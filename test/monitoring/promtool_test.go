package monitoring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sts-mutating-webhook/test/kit"
)

// program finds a program of Debian's package prometheus: the one that is installed, or one taken out of the package, which is
// not installed, because that would start a Prometheus on this machine. Without fetch the package is not downloaded.
func program(ctx context.Context, name string, fetch bool) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(user, "sts-mutating-webhook", "prometheus")
	path := filepath.Join(dir, "usr/bin", name)
	if _, err := os.Stat(path); err == nil || !fetch {
		return path, err
	}
	download, err := os.MkdirTemp("", "prometheus")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(download)
	// A fresh machine has no package lists, or old ones.
	const get = `apt-get download prometheus || { apt-get update && apt-get download prometheus; } && dpkg-deb --extract prometheus_*.deb "$0"`
	cmd := exec.CommandContext(ctx, "sh", "-c", get, dir)
	cmd.Dir = download
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("get Debian's package prometheus: %w: %s", err, out)
	}
	return path, nil
}

// TestClusterPromtool needs no cluster, but may have to download promtool, which make test does not.
func TestClusterPromtool(t *testing.T) {
	promtool, err := program(t.Context(), "promtool", os.Getenv("TEST_CLUSTER") != "")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("NOT RUN: there is no promtool; TEST_CLUSTER=1 (make test-monitoring) downloads it")
	}
	kit.Must(t, err)
	for _, args := range [][]string{
		{"check", "rules", plainRules},
		{"test", "rules", ruleTests},
	} {
		if out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
