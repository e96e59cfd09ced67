package e2e

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/webhook"
)

// setUpExisting uses the cluster of a kubeconfig, in which the webhook must not be installed: the first chapter fails if it is. At
// the end the webhook and the labels of two nodes are deleted. IMAGE and POD_IMAGE are as for make demo.
func setUpExisting(t *testing.T, kubeconfig string) *suite {
	t.Helper()
	image := os.Getenv("IMAGE")
	if image == "" {
		t.Fatal("IMAGE is empty: say where the nodes find the webhook's image, as for make demo KUBECONFIG=... IMAGE=...")
	}
	if podImage = os.Getenv("POD_IMAGE"); podImage == "" {
		podImage = "registry.k8s.io/pause:3.10"
	}
	ctx, cancel := context.WithTimeout(context.Background(), storyTime)
	t.Cleanup(cancel)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	c, err := cluster.Existing(kubeconfig)
	must(t, err)
	w, err := webhook.In(c)
	must(t, err)
	w.Image = image
	s := &suite{Webhook: w, ctx: ctx}
	s.nodeOf, err = s.ChooseNodes(ctx)
	must(t, err)
	if out := s.kubectl(t, "get", "-f", s.Path("manifests"), "--ignore-not-found", "--output=name"); out != "" {
		t.Fatalf("the webhook, or a part of it, is in this cluster: %s", out)
	}
	t.Cleanup(func() { s.undo(t, "delete", "--ignore-not-found", "-f", s.Path("manifests")) })
	for value, node := range s.nodeOf {
		s.kubectl(t, "label", "node", node, "name="+value)
		t.Cleanup(func() { s.undo(t, webhook.Unlabel(node, value)...) })
	}
	return s
}

// undo runs kubectl even after an interrupt.
func (s *suite) undo(t *testing.T, args ...string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), time.Minute)
	defer cancel()
	if out, err := s.Cluster.Kubectl(ctx, args...); err != nil {
		t.Errorf("undo: %v: %s", err, out)
	}
}
