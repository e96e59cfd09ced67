package chaos

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"sts-mutating-webhook/internal/rotator"
	"sts-mutating-webhook/test/kit"
)

// Steps of a rotation, as the Secret's annotation records them.
const (
	rotateStep = "rotate"
	retireStep = "retire"
)

// distrustLimit is the promise: how long after the request nobody trusts an old CA.
const distrustLimit = time.Second

// request does what "sts-webhook rotate" does.
func (a *attempt) request(ctx context.Context, distrust bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	a.writes.Add(1) // the annotation
	return rotator.Request(ctx, a.suite.requests, a.namespace, distrust, io.Discard)
}

// rotate carries out one planned rotation to its end.
func (a *attempt) rotate(ctx context.Context) error {
	begin := time.Now()
	if err := a.request(ctx, false); err != nil {
		return err
	}
	return a.seen.awaitRotation(ctx, begin, func(string) error { return nil })
}

// rotations carries out n rotations, each to its end.
func rotations(n int) injection {
	return func(ctx context.Context, a *attempt) error {
		a.hit = time.Now()
		for range n {
			if err := a.rotate(ctx); err != nil {
				return err
			}
		}
		a.remark("%.1f s each", time.Since(a.hit).Seconds()/float64(n))
		return a.countRotations(n)
	}
}

func (a *attempt) countRotations(n int) error {
	if changes := a.seen.signers(a.hit); changes != n {
		return fmt.Errorf("count rotations: the signer changed %d times, want %d", changes, n)
	}
	return nil
}

// With overlapLonger, rotations every rotationPace do not wait for one another, and
// the last one still ends within the test.
const (
	rotationPace  = 3 * time.Second
	overlapLonger = "--ca-overlap=20s"
)

func longerOverlap(ctx context.Context, s *suite) error {
	return s.configure(ctx, overlapLonger, "--rotation-check=1s")
}

// rapidRotations asks for a rotation every rotationPace, although the CAs of those
// before are still trusted.
func rapidRotations(n int) injection {
	return func(ctx context.Context, a *attempt) error {
		a.hit = time.Now()
		tick := time.NewTicker(rotationPace)
		defer tick.Stop()
		for range n {
			if err := a.request(ctx, false); err != nil {
				return err
			}
			<-tick.C
		}
		trusted := 0
		versions, _ := a.seen.after(a.hit, secretKind)
		for _, v := range versions {
			trusted = max(trusted, len(v.keyring.cas))
		}
		a.remark("in %.0f s, up to %d CAs trusted at once", time.Since(a.hit).Seconds(), trusted)
		return a.countRotations(n)
	}
}

// distrust is the rotation for a leaked key.
func distrust(ctx context.Context, a *attempt) error {
	took, err := a.distrust(ctx)
	if err == nil {
		a.measure("the old CA was trusted by nobody", took, distrustLimit)
	}
	return err
}

// distrust measures from the request, as the watch of the Secret shows it, to the
// caBundle that holds no CA of before.
func (a *attempt) distrust(ctx context.Context) (time.Duration, error) {
	a.hit = time.Now()
	old := a.seen.newest(secretKind).keyring.cas
	if err := a.request(ctx, true); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	asked, err := a.seen.await(ctx, a.hit, secretKind, "the request", func(v version) bool { return v.request })
	if err != nil {
		return 0, err
	}
	dropped, err := a.seen.await(ctx, asked.at, configKind, "a caBundle without the old CA", func(v version) bool { return v.bundle != "" && !v.trusts(old) })
	if err != nil {
		return 0, err
	}
	took := dropped.at.Sub(asked.at)
	a.remark("the old CA was dropped %.2f s after the request", took.Seconds())
	return took, nil
}

// trusts reports whether a version holds one of the CAs.
func (v version) trusts(cas []string) bool {
	held := v.keyring.cas
	if v.kind == configKind {
		held = fingerprints(v.bundle)
	}
	return slices.ContainsFunc(held, func(ca string) bool { return slices.Contains(cas, ca) })
}

// duringRotation requests a rotation and calls do after each of its steps.
func (a *attempt) duringRotation(ctx context.Context, do func(step string) error) error {
	var both errgroup.Group
	a.hit = time.Now()
	begin := a.hit
	both.Go(func() error { return a.request(ctx, false) })
	both.Go(func() error { return a.seen.awaitRotation(ctx, begin, do) })
	return both.Wait()
}

// killInEveryStep kills a replica as soon as the new CA signs, when the caBundle is
// being written, another one when the old CA is dropped, and the last one when the
// next rotation is asked for.
func killInEveryStep(ctx context.Context, a *attempt) error {
	pods, err := a.pods(ctx)
	if err != nil {
		return err
	}
	victims := map[string]int{rotateStep: 0, retireStep: 1}
	err = a.duringRotation(ctx, func(step string) error { return a.kill(pods[victims[step]]) })
	if err != nil {
		return err
	}
	if err := kit.Sleep(ctx, 2*time.Second); err != nil {
		return err
	}
	if err := a.kill(pods[2]); err != nil {
		return err
	}
	return a.rotate(ctx)
}

// killThree kills the textbook's replicas in the same rhythm.
func killThree(ctx context.Context, a *attempt) error {
	pods, err := a.pods(ctx)
	if err != nil {
		return err
	}
	a.hit = time.Now()
	for _, pod := range pods {
		if err := a.kill(pod); err != nil {
			return err
		}
		if err := kit.Sleep(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// restartInRotation begins a rolling restart when the new CA signs; the old one is
// dropped while replicas come and go.
func restartInRotation(ctx context.Context, a *attempt) error {
	err := a.duringRotation(ctx, func(step string) error {
		if step == rotateStep {
			return a.restart(ctx)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return a.awaitScale(ctx, replicas)
}

func rollingRestart(ctx context.Context, a *attempt) error {
	a.hit = time.Now()
	if err := a.restart(ctx); err != nil {
		return err
	}
	return a.awaitScale(ctx, replicas)
}
