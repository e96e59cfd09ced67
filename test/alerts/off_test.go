package alerts

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

// testTurnOff deletes the Secret while the robot hangs: the worst moment.
func (w *world) testTurnOff(t *testing.T) {
	w.turnOff(t)
	w.fleet.behave(w.ctx, t, dingtalktest.OK)
	before := w.fleet.stats(w.ctx, t).Calls
	w.off = append(w.off, w.create(t), w.create(t))
	w.awaitEmpty(t)
	if calls := w.fleet.stats(w.ctx, t).Calls - before; calls != 0 {
		t.Errorf("the robot was called %d times after its Secret was deleted", calls)
	}
	for _, pod := range w.replicaPods(t) {
		if n := pod.Status.ContainerStatuses[0].RestartCount; n != 0 {
			t.Errorf("%s was restarted %d times", pod.Name, n)
		}
	}
}

// turnOff deletes the Secret of a robot that hangs. The replicas have noticed when
// they have forgotten what they could not tell.
func (w *world) turnOff(t *testing.T) {
	t.Helper()
	w.deleteSecret(t)
	w.nudge(t)
	w.awaitEmpty(t)
}

// testLatencies compares creations through the apiserver. Other work on the machine
// only ever adds to them, so the best round of each kind is the least disturbed.
// The full form adds rounds in turn.
func (w *world) testLatencies(t *testing.T) {
	for w.full && len(w.hung) < 5 {
		w.putSecret(t, w.fleet.url(), w.fleet.secret)
		w.nudge(t)
		w.hang(t)
		w.hung = append(w.hung, w.create(t))
		w.turnOff(t)
		w.off = append(w.off, w.create(t))
	}
	if len(w.off) == 0 || len(w.hung) == 0 {
		t.Fatal("an earlier chapter made no load")
	}
	off, hung := best(t, "no Secret:  ", w.off), best(t, "robot hangs:", w.hung)
	t.Logf("best rounds: no Secret %s; robot hangs %s", off, hung)
	if hung.p(99) > 2*off.p(99)+50*time.Millisecond || hung.refused > 0 {
		t.Errorf("while the robot hangs %s, without alerts %s", hung, off)
	}
}

// best logs the rounds and returns the one with the smallest 99th percentile.
func best(t *testing.T, what string, rounds []round) round {
	t.Helper()
	for _, r := range rounds {
		t.Log(what, r)
	}
	return slices.MinFunc(rounds, func(a, b round) int { return cmp.Compare(a.p(99), b.p(99)) })
}
