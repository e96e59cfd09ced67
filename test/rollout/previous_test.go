package rollout

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
)

const (
	// previousCommit is the version to upgrade from: the newest of the main branch that knows no rule but even and odd. The tag of
	// the release before takes its place as soon as there is one.
	previousCommit = "2ea6cac0112bd0f2d953feebbc95a87f8ccdf4e0"
	previousImage  = "sts-webhook:previous"
)

// loadPrevious loads the image of the previous version into the cluster, and returns the directory of its manifests, in which
// that image is set as the README says. A checkout without that commit skips the test.
func (s *suite) loadPrevious(ctx context.Context, t *testing.T) string {
	t.Helper()
	if _, err := s.git(ctx, "cat-file", "-e", previousCommit+"^{commit}"); err != nil {
		t.Skipf("NOT RUN: the upgrade begins with commit %s, which this checkout does not have (%v); get it by: git fetch --unshallow", previousCommit, err)
	}
	dir := t.TempDir()
	tree, sources, image := filepath.Join(dir, "tree"), filepath.Join(dir, "tree.tar"), filepath.Join(dir, "image.tar")
	kit.Must(t, os.Mkdir(tree, 0o755))
	_, err := s.git(ctx, "archive", "--output="+sources, previousCommit)
	kit.Must(t, err)
	if out, err := exec.CommandContext(ctx, "tar", "-xf", sources, "-C", tree).CombinedOutput(); err != nil {
		t.Fatalf("unpack %s: %v: %s", sources, err, out)
	}
	kit.Must(t, cluster.BuildWebhookOf(ctx, tree, previousImage, image))
	kit.Must(t, s.Cluster.LoadImage(ctx, image))
	deployment := filepath.Join(tree, "manifests", "40-deployment.yaml")
	text, err := os.ReadFile(deployment)
	kit.Must(t, err)
	if n := bytes.Count(text, []byte("image: "+cluster.WebhookImageName)); n != 1 {
		t.Fatalf("%s of the previous version names the image %d times, want once", filepath.Base(deployment), n)
	}
	kit.Must(t, os.WriteFile(deployment, bytes.Replace(text, []byte(cluster.WebhookImageName), []byte(previousImage), 1), 0o644))
	return filepath.Dir(deployment)
}

// git runs git in the checkout.
func (s *suite) git(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", append([]string{"-C", s.Path(".")}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
