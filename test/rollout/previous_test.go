package rollout

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sts-mutating-webhook/internal/rotator"
	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

const (
	// previousCommit is the version to upgrade from: the newest of the main branch that knows no rule but even and odd. The tag of
	// the release before takes its place as soon as there is one.
	previousCommit = "2ea6cac0112bd0f2d953feebbc95a87f8ccdf4e0"
	previousImage  = "sts-webhook:previous"
)

// loadPrevious loads the image of the previous version into the cluster, and returns the directory of its manifests, in which
// that image is set as the README says. A checkout without that commit skips the test.
func (s *suite) loadPrevious(t *testing.T) string {
	t.Helper()
	run := func(script string, args ...string) (string, error) {
		cmd := exec.CommandContext(s.Ctx, "sh", append([]string{"-ec", script, "sh"}, args...)...)
		cmd.Dir = s.Path(".")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run(`git cat-file -e "$1^{commit}"`, previousCommit); err != nil {
		t.Skipf("NOT RUN: the upgrade begins with commit %s, which this checkout does not have (%v: %s); get it by: git fetch --unshallow",
			previousCommit, err, out)
	}
	dir := t.TempDir()
	if out, err := run(`git archive --output="$2.tar" "$1" && tar -xf "$2.tar" -C "$2"`, previousCommit, dir); err != nil {
		t.Fatalf("unpack %s: %v: %s", previousCommit, err, out)
	}
	image := filepath.Join(t.TempDir(), "image.tar")
	kit.Must(t, cluster.BuildWebhookOf(s.Ctx, dir, previousImage, image))
	kit.Must(t, s.Cluster.LoadImage(s.Ctx, image))
	deployment := filepath.Join(dir, "manifests", "40-deployment.yaml")
	text, err := os.ReadFile(deployment)
	kit.Must(t, err)
	if n := strings.Count(string(text), "image: "+cluster.WebhookImageName); n != 1 {
		t.Fatalf("%s of the previous version names the image %d times, want once", filepath.Base(deployment), n)
	}
	kit.Must(t, os.WriteFile(deployment, []byte(strings.Replace(string(text), cluster.WebhookImageName, previousImage, 1)), 0o644))
	return filepath.Dir(deployment)
}

// keys are digests of what the Secret and the caBundle hold.
func (s *suite) keys(t *testing.T) map[string]string {
	t.Helper()
	secret, err := s.Client.CoreV1().Secrets(webhook.Namespace).Get(s.Ctx, webhook.Secret, metav1.GetOptions{})
	kit.Must(t, err)
	configurations := s.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	configuration, err := configurations.Get(s.Ctx, webhook.Configuration, metav1.GetOptions{})
	kit.Must(t, err)
	secret.Data["caBundle"] = configuration.Webhooks[0].ClientConfig.CABundle
	digests := map[string]string{}
	for name, value := range secret.Data {
		digests[name] = fmt.Sprintf("%d bytes, SHA-256 %.4x", len(value), sha256.Sum256(value))
	}
	return digests
}

// rotate does what sts-webhook rotate does, and waits until kube-apiserver trusts the new CA.
func (s *suite) rotate(t *testing.T) {
	t.Helper()
	before := s.keys(t)
	c, err := client.New(s.Cluster.RESTConfig(), client.Options{})
	kit.Must(t, err)
	limited, cancel := context.WithTimeout(s.Ctx, 30*time.Second)
	defer cancel()
	kit.Must(t, rotator.Request(limited, c, webhook.Namespace, false, io.Discard))
	s.Eventually(t, 10*time.Second, func() error {
		if now := s.keys(t); now["ca.crt"] == before["ca.crt"] || now["caBundle"] != now["ca.crt"] {
			return fmt.Errorf("after a rotation: got %v, want a new ca.crt, and the caBundle equal to it; before: %v", now, before)
		}
		return nil
	})
}
