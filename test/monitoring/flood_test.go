package monitoring

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"sts-mutating-webhook/test/kit"
)

const (
	floodCallers = 2
	// floodLimit bounds the calls. Some 4000 lines fill the replica's buffer and the pipes behind it.
	floodLimit = 50_000
)

// flood calls one replica directly, as the apiserver does, until stop is called or the limit is reached. Each call is a line of its
// log: the dry run of a pod that is placed, with an annotation of so many bytes.
func (s *suite) flood(t *testing.T, replica corev1.Pod, size int) (stop func()) {
	t.Helper()
	pod := kit.OwnedPod("flood", 0, kit.ByParity)
	pod.Annotations["example.com/large"] = strings.Repeat("x", size)
	review := kit.Review(t, namespace, pod, true)
	client, err := s.ReplicaClient(s.Ctx, replica, floodCallers)
	kit.Must(t, err)
	ctx, cancel := context.WithCancel(s.Ctx)
	calls, ctx := errgroup.WithContext(ctx)
	for range floodCallers {
		calls.Go(func() error {
			for n := 0; n < floodLimit/floodCallers && ctx.Err() == nil; n++ {
				if err := kit.PostReview(ctx, client, review, true); err != nil && ctx.Err() == nil {
					return fmt.Errorf("call %s: %w", replica.Name, err)
				}
			}
			return nil
		})
	}
	return func() {
		cancel()
		kit.Must(t, calls.Wait())
		client.CloseIdleConnections()
	}
}
