package chaos

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sts-mutating-webhook/test/kit"
)

func nothing(ctx context.Context, _ *attempt) error { return kit.Sleep(ctx, 2*time.Second) }

func oneReplica(ctx context.Context, a *attempt) error {
	a.hit = time.Now()
	for _, n := range []int32{1, replicas} {
		if err := a.scale(ctx, int(n)); err != nil {
			return err
		}
		if err := a.awaitScale(ctx, n); err != nil {
			return err
		}
		if err := kit.Sleep(ctx, 3*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// applied lets kubectl leave its own annotations on what other scenarios made anew.
func applied(ctx context.Context, s *suite) error { return s.apply(ctx) }

// reapply is a pipeline that applies the manifests over and over.
func reapply(n int) injection {
	return func(ctx context.Context, a *attempt) error {
		a.hit = time.Now()
		for range n {
			if err := a.suite.apply(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

// nothingReported replaces every replica and removes the note on the Secret, so that
// the fleet has told of no repair yet.
func nothingReported(ctx context.Context, s *suite) error {
	note := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:null}}}`, reportAnnotation)
	if _, err := s.Client.CoreV1().Secrets(s.ours.namespace).Patch(ctx, s.ours.secret, types.MergePatchType, note, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("patch Secret: %w", err)
	}
	if err := s.ours.restart(ctx); err != nil {
		return err
	}
	if err := s.ours.awaitScale(ctx, replicas); err != nil {
		return err
	}
	if err := s.ours.drained(ctx, replicas); err != nil {
		return err
	}
	return s.ours.settle(ctx, settleTimeout)
}
