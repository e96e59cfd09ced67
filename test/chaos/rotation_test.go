package chaos

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"sts-mutating-webhook/internal/rotator"
)

// Steps of a rotation, as the Secret's annotation records them.
const (
	rotateStep = "rotate"
	retireStep = "retire"
)

// distrustLimit is the promise: how long after the request nobody trusts an old CA.
const distrustLimit = time.Second

// request does what "sts-webhook rotate" does.
func (a *attempt) request(distrust bool, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(a.Ctx, limit)
	defer cancel()
	a.writes.Add(1) // the annotation
	return rotator.Request(ctx, a.requests, a.namespace, distrust, io.Discard)
}

// requestTimeout is enough for a request that nothing hinders.
const requestTimeout = 30 * time.Second

// rotate carries out one planned rotation to its end.
func (a *attempt) rotate() {
	a.t.Helper()
	a.duringRotation(func(string) {})
}

// duringRotation requests a rotation and calls do after each of its steps.
func (a *attempt) duringRotation(do func(step string)) {
	a.t.Helper()
	begin := time.Now()
	var request sync.WaitGroup
	defer request.Wait()
	request.Go(func() {
		if err := a.request(false, requestTimeout); err != nil {
			a.t.Errorf("request a rotation: %v", err)
		}
	})
	a.awaitRotation(begin, do)
}

// awaitRotation waits for each step of a rotation that begins after t, and calls do when it is seen.
func (a *attempt) awaitRotation(t time.Time, do func(step string)) {
	a.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for _, step := range []string{rotateStep, retireStep} {
		is := func(v version) bool { return !v.deleted && v.rotation.Step == step }
		t = a.await(t, time.Until(deadline), secretKind, "step "+step, is).at // the step before is on record until this one is taken
		do(step)
	}
}

// countRotations checks how often the signer has changed since the injection.
func (a *attempt) countRotations(want int) {
	a.t.Helper()
	if n := a.seen.signers(a.hit); n != want {
		a.t.Fatalf("the signer changed %d times, want %d", n, want)
	}
}

func threeRotations(a *attempt) {
	a.hit = time.Now()
	for range 3 {
		a.rotate()
	}
	a.remark("%.1f s each", time.Since(a.hit).Seconds()/3)
	a.countRotations(3)
}

// restartInRotation begins a rolling restart when the new CA signs; the old one is
// dropped while replicas come and go.
func restartInRotation(a *attempt) {
	a.hit = time.Now()
	a.duringRotation(func(step string) {
		if step == rotateStep {
			a.restart()
		}
	})
	a.awaitScale(replicas)
}

// distrust is the rotation for a leaked key.
func distrust(a *attempt) { a.measure("the old CA was trusted by nobody", a.distrust(), distrustLimit) }

// distrust measures from the request, as the watch of the Secret shows it, to the
// caBundle that holds no CA of before.
func (a *attempt) distrust() time.Duration {
	a.t.Helper()
	a.hit = time.Now()
	old := a.seen.newest(secretKind).keyring.cas
	a.must(a.request(true, requestTimeout))
	requested := a.await(a.hit, 5*time.Second, secretKind, "the request", func(v version) bool { return v.request })
	without := func(v version) bool { return v.bundle != "" && !v.trusts(old) }
	dropped := a.await(requested.at, 5*time.Second, configKind, "a caBundle without the old CA", without)
	took := dropped.at.Sub(requested.at)
	a.remark("the old CA was dropped %.2f s after the request", took.Seconds())
	return took
}

// shortLived gives ours certificates that live for seconds. The CA that exists lives
// longer, so one rotation is requested; from there on, lives alone drive the others.
func shortLived(a *attempt) {
	a.configure("--ca-overlap=2s", "--rotation-check=1s", "--ca-duration=30s", "--cert-duration=12s")
	a.rotate()
}

// livesEnd waits until five CAs have come to the end of their lives.
func livesEnd(a *attempt) {
	a.hit = time.Now()
	a.await(a.hit, 6*time.Minute, secretKind, "five rotations", func(version) bool { return a.seen.signers(a.hit) >= 5 })
	// Lives that are long again end the rotations, so that ours can settle.
	a.must(a.Configure(a.Ctx, quickFlags...))
	a.remark("%d rotations in %.0f s", a.seen.signers(a.hit), time.Since(a.hit).Seconds())
}

// ordinary gives ours its ordinary flags again, and a CA that lives as long as they say.
func ordinary(a *attempt) {
	a.configure(quickFlags...)
	a.rotate()
}

// overlapAndControl prepares rotations of both webhooks: ours gets a longer overlap, the
// textbook a CA that is replaced every two minutes, and it makes one. With this overlap
// rotations every 3 s do not wait for one another, and the last one still ends within the test.
func overlapAndControl(a *attempt) {
	a.configure("--ca-overlap=20s", "--rotation-check=1s")
	if testing.Short() {
		return
	}
	control := &attempt{target: a.control, t: a.t}
	args := `["--ca-duration=150s","--cert-duration=150s","--lookahead=30s","--rotation-check=1s"]`
	control.patch(`{"spec":{"template":{"spec":{"containers":[{"name":"manager","args":%s}]}}}}`, args)
	control.awaitScale(replicas)
	control.removeData()
	a.must(control.settle(controlSettleTimeout))
}

// rapidRotations requests 20 rotations, although the CAs of those before are still trusted.
func rapidRotations(a *attempt) {
	a.hit = time.Now()
	tick := time.NewTicker(3 * time.Second)
	defer tick.Stop()
	for range 20 {
		a.must(a.request(false, requestTimeout))
		<-tick.C
	}
	trusted := 0
	for _, v := range a.seen.since(a.hit, secretKind) {
		trusted = max(trusted, len(v.keyring.cas))
	}
	a.remark("in %.0f s, up to %d CAs trusted at once", time.Since(a.hit).Seconds(), trusted)
	a.countRotations(20)
}

// nextRotation waits until the textbook replaces its CA by itself.
func nextRotation(a *attempt) {
	another := func(v version) bool { return v.isWhole() && v.keyring.signer != a.before }
	a.hit = a.await(time.Now(), 150*time.Second, secretKind, "the textbook's rotation", another).at
}
