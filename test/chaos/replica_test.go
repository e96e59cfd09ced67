package chaos

import (
	"context"
	"time"
)

func nothing(ctx context.Context, _ *attempt) error { return sleep(ctx, 2*time.Second) }

func oneReplica(ctx context.Context, a *attempt) error {
	a.hit = time.Now()
	for _, n := range []int32{1, replicas} {
		if err := a.scale(ctx, int(n)); err != nil {
			return err
		}
		if err := a.awaitScale(ctx, n); err != nil {
			return err
		}
		if err := sleep(ctx, 3*time.Second); err != nil {
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

// freshReplicas replaces every replica, so that none has told of a repair yet.
func freshReplicas(ctx context.Context, s *suite) error {
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
