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

// testLatencies compares creations through the apiserver. The spread of the rounds
// without alerts is the noise of the machine; the best round with a robot that
// hangs must lie within it, and no pod may be refused there. A call that waited for
// the robot would last as long as the webhook's timeout. The finer comparison is
// testHang's. The full form adds rounds in turn.
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
	byP99 := func(a, b round) int { return cmp.Compare(a.p(99), b.p(99)) }
	for _, r := range w.off {
		t.Log("no Secret:  ", r)
	}
	for _, r := range w.hung {
		t.Log("robot hangs:", r)
	}
	worst, best := slices.MaxFunc(w.off, byP99), slices.MinFunc(w.hung, byP99)
	if best.p(99) > worst.p(99)+50*time.Millisecond || best.refused > 0 {
		t.Errorf("the best round while the robot hangs: %s; the worst without alerts: %s", best, worst)
	}
}
