package chaos

import (
	"context"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"sts-mutating-webhook/internal/rotator"
)

// step names of the protocol, as the Secret's annotation records them.
const (
	stage   = "stage"
	promote = "promote"
	retire  = "retire"
)

// request does what "sts-webhook rotate" does.
func (s *shot) request(ctx context.Context, distrust bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	s.writes++ // the annotation
	return rotator.Request(ctx, s.world.requests, s.namespace, distrust, io.Discard)
}

// rotate carries out one planned rotation to its end.
func (s *shot) rotate(ctx context.Context) error {
	begin := time.Now()
	if err := s.request(ctx, false); err != nil {
		return err
	}
	return s.seen.awaitRotation(ctx, begin, func(string) error { return nil })
}

func rotations(n int) event {
	return func(ctx context.Context, s *shot) error {
		begin := time.Now()
		s.hit = begin
		for range n {
			if err := s.rotate(ctx); err != nil {
				return err
			}
		}
		if changes := s.seen.signers(begin); changes != n {
			return fmt.Errorf("count rotations: the signer changed %d times, want %d", changes, n)
		}
		s.remark("%.1f s each", time.Since(begin).Seconds()/float64(n))
		return nil
	}
}

// distrust is the rotation for a leaked key: at its end the old CA is trusted by nobody.
func distrust(ctx context.Context, s *shot) error {
	s.hit = time.Now()
	if err := s.request(ctx, true); err != nil {
		return err
	}
	s.remark("old CA dropped after %.1f s", time.Since(s.hit).Seconds())
	return nil
}

// duringRotation requests a rotation and calls do after each of its steps.
func (s *shot) duringRotation(ctx context.Context, do func(step string) error) error {
	var both errgroup.Group
	s.hit = time.Now()
	begin := s.hit
	s.writes++
	both.Go(func() error {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		return rotator.Request(ctx, s.world.requests, s.namespace, false, io.Discard)
	})
	both.Go(func() error {
		return s.seen.awaitRotation(ctx, begin, do)
	})
	return both.Wait()
}

// killInEveryStep kills another replica as soon as each step is seen: the
// caBundle is being written then.
func killInEveryStep(ctx context.Context, s *shot) error {
	pods, err := s.pods(ctx)
	if err != nil {
		return err
	}
	victims := map[string]int{stage: 0, promote: 1, retire: 2}
	return s.duringRotation(ctx, func(step string) error { return s.kill(pods[victims[step]]) })
}

// killThree kills the textbook's replicas in the same rhythm.
func killThree(ctx context.Context, s *shot) error {
	pods, err := s.pods(ctx)
	if err != nil {
		return err
	}
	s.hit = time.Now()
	for _, pod := range pods {
		if err := s.kill(pod); err != nil {
			return err
		}
		if err := sleep(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// restartInRotation begins a rolling restart between stage and promote.
func restartInRotation(ctx context.Context, s *shot) error {
	err := s.duringRotation(ctx, func(step string) error {
		if step != stage {
			return nil
		}
		return s.restart(ctx)
	})
	if err != nil {
		return err
	}
	return s.awaitScale(ctx, replicas)
}

func rollingRestart(ctx context.Context, s *shot) error {
	s.hit = time.Now()
	if err := s.restart(ctx); err != nil {
		return err
	}
	return s.awaitScale(ctx, replicas)
}

// shortLived gives ours certificates that live for seconds; from the rotation
// asked for here on, the CA's life alone drives the others.
func shortLived(ctx context.Context, w *world) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	args := flags(briskFlags, "--ca-duration=30s", "--cert-duration=12s")
	if err := w.webhook.Configure(ctx, args...); err != nil {
		return err
	}
	// A replica that drains rotates too, and by its own flags.
	if err := w.ours.drained(ctx, replicas); err != nil {
		return err
	}
	if err := w.ours.settle(ctx, patience); err != nil {
		return err
	}
	return (&shot{target: w.ours, world: w}).rotate(ctx)
}

// livesEnd waits until five CAs have come to the end of their lives.
func livesEnd(ctx context.Context, s *shot) error {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Minute)
	defer cancel()
	begin := time.Now()
	s.hit = begin
	_, err := s.seen.await(ctx, begin, "five rotations", func(version) bool { return s.seen.signers(begin) >= 5 })
	if err != nil {
		return err
	}
	// Lives that are long again end the rotations, so that ours can settle.
	if err := s.world.webhook.Configure(ctx, briskFlags...); err != nil {
		return err
	}
	s.remark("%d rotations in %.0f s", s.seen.signers(begin), time.Since(begin).Seconds())
	return nil
}

// shortLivedControl gives the textbook a CA that is replaced every two minutes.
func shortLivedControl(ctx context.Context, w *world) error {
	return w.reconfigureControl(ctx, `["--ca-duration=150s","--cert-duration=150s","--lookahead=30s","--rotation-check=1s"]`)
}

// reconfigureControl restarts the textbook with other flags and lets it make a
// CA by them.
func (w *world) reconfigureControl(ctx context.Context, args string) error {
	if !w.full {
		return nil
	}
	t := w.control
	if err := t.patch(ctx, `{"spec":{"template":{"spec":{"containers":[{"name":"manager","args":%s}]}}}}`, args); err != nil {
		return err
	}
	if err := t.awaitScale(ctx, replicas); err != nil {
		return err
	}
	if err := dataRemoved(ctx, &shot{target: t, world: w}); err != nil {
		return err
	}
	return t.settle(ctx, patienceControl)
}

// nextRotation waits until the textbook replaces its CA by itself.
func nextRotation(ctx context.Context, s *shot) error {
	ctx, cancel := context.WithTimeout(ctx, 150*time.Second)
	defer cancel()
	s.hit = time.Now()
	_, err := s.seen.await(ctx, s.hit, "the textbook's rotation", func(v version) bool { return !v.deleted && v.whole == nil && v.keyring.signer != s.before })
	return err
}
