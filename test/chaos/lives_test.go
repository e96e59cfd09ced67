package chaos

import (
	"context"
	"testing"
	"time"
)

// shortLived gives ours certificates that live for seconds. The CA that exists lives
// longer, so one rotation is asked for; from there on, lives alone drive the others.
func shortLived(ctx context.Context, s *suite) error {
	if err := s.configure(ctx, "--ca-overlap=2s", "--rotation-check=1s", "--ca-duration=30s", "--cert-duration=12s"); err != nil {
		return err
	}
	return (&attempt{target: s.ours, suite: s}).rotate(ctx)
}

// livesEnd waits until five CAs have come to the end of their lives.
func livesEnd(ctx context.Context, a *attempt) error {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Minute)
	defer cancel()
	begin := time.Now()
	a.hit = begin
	_, err := a.seen.await(ctx, begin, secretKind, "five rotations", func(version) bool { return a.seen.signers(begin) >= 5 })
	if err != nil {
		return err
	}
	// Lives that are long again end the rotations, so that ours can settle.
	if err := a.suite.Configure(ctx, quickFlags...); err != nil {
		return err
	}
	a.remark("%d rotations in %.0f s", a.seen.signers(begin), time.Since(begin).Seconds())
	return nil
}

// shortLivedControl gives the textbook a CA that is replaced every two minutes, and
// lets it make one.
func shortLivedControl(ctx context.Context, s *suite) error {
	if testing.Short() {
		return nil
	}
	t := s.control
	args := `["--ca-duration=150s","--cert-duration=150s","--lookahead=30s","--rotation-check=1s"]`
	if err := t.patch(ctx, `{"spec":{"template":{"spec":{"containers":[{"name":"manager","args":%s}]}}}}`, args); err != nil {
		return err
	}
	if err := t.awaitScale(ctx, replicas); err != nil {
		return err
	}
	if err := dataRemoved(ctx, &attempt{target: t, suite: s}); err != nil {
		return err
	}
	return t.settle(ctx, controlSettleTimeout)
}

// nextRotation waits until the textbook replaces its CA by itself.
func nextRotation(ctx context.Context, a *attempt) error {
	ctx, cancel := context.WithTimeout(ctx, 150*time.Second)
	defer cancel()
	v, err := a.seen.await(ctx, time.Now(), secretKind, "the textbook's rotation", func(v version) bool { return v.isWhole() && v.keyring.signer != a.before })
	a.hit = v.at
	return err
}

// overlapAndControl prepares rotations of both webhooks.
func overlapAndControl(ctx context.Context, s *suite) error {
	if err := longerOverlap(ctx, s); err != nil {
		return err
	}
	return shortLivedControl(ctx, s)
}

// ordinary gives ours its ordinary flags again, and a CA that lives as long as they say.
func ordinary(ctx context.Context, s *suite) error {
	if err := s.configure(ctx, quickFlags...); err != nil {
		return err
	}
	return (&attempt{target: s.ours, suite: s}).rotate(ctx)
}
