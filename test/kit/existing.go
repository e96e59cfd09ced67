package kit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/webhook"
)

// StartExisting uses the cluster of a kubeconfig, in which the webhook must not be installed. At the end the webhook is deleted.
// The variables IMAGE and POD_IMAGE are as for make demo. Chapters that need more than a kubeconfig are skipped.
func StartExisting(t *testing.T, kubeconfig string, timeout time.Duration) *Suite {
	t.Helper()
	image := os.Getenv("IMAGE")
	if image == "" {
		t.Fatal("IMAGE is empty: say where the nodes find the webhook's image, as for make demo KUBECONFIG=... IMAGE=...")
	}
	if PodImage = os.Getenv("POD_IMAGE"); PodImage == "" {
		PodImage = "registry.k8s.io/pause:3.10"
	}
	c, err := cluster.Existing(kubeconfig)
	Must(t, err)
	w, err := webhook.In(c)
	Must(t, err)
	w.Image = image
	s := &Suite{Webhook: w, Ctx: suiteContext(t, timeout)}
	if out := s.Kubectl(t, "get", "-f", s.Path("manifests"), "--ignore-not-found", "--output=name"); out != "" {
		t.Fatalf("the webhook, or a part of it, is in this cluster: %s", out)
	}
	t.Cleanup(func() { s.undo(t, "delete", "--ignore-not-found", "-f", s.Path("manifests")) })
	return s
}

// undo runs kubectl even after an interrupt.
func (s *Suite) undo(t *testing.T, args ...string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.Ctx), time.Minute)
	defer cancel()
	if out, err := s.Cluster.Kubectl(ctx, args...); err != nil {
		t.Errorf("undo: %v: %s", err, out)
	}
}

// suiteContext ends with the suite's time and when the run is interrupted, so that it cleans up, too.
func suiteContext(t *testing.T, timeout time.Duration) context.Context {
	ctx, cancel := context.WithTimeoutCause(context.Background(), timeout, fmt.Errorf("the suite has taken %s", timeout))
	t.Cleanup(cancel)
	if end, ok := t.Deadline(); ok { // at which go test ends without any clean-up
		ctx, cancel = context.WithDeadlineCause(ctx, end.Add(-2*time.Minute), errors.New("the end of go test's -timeout is near"))
		t.Cleanup(cancel)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	return ctx
}
