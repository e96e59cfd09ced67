package kit

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"sts-mutating-webhook/test/fakenode"
)

// StartNodes starts nodes that no kubelet stands behind, which last until the test ends.
func (s *Suite) StartNodes(t *testing.T, nodes []*corev1.Node) {
	t.Helper()
	started, err := fakenode.Start(s.Ctx, s.Client, nodes)
	Must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.Ctx), time.Minute)
		defer cancel()
		Must(t, started.Remove(ctx))
	})
}
