package alerts

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

// testTurnOff deletes the Secret while the robot hangs: the worst moment.
func (s *suite) testTurnOff(t *testing.T) {
	s.turnOff(t)
	s.fleet.behave(s.Ctx, t, dingtalktest.OK)
	before := s.fleet.stats(s.Ctx, t).Calls
	s.off = append(s.off, s.create(t), s.create(t))
	s.awaitEmpty(t)
	if calls := s.fleet.stats(s.Ctx, t).Calls - before; calls != 0 {
		t.Errorf("the robot was called %d times after its Secret was deleted", calls)
	}
	for _, pod := range s.replicaPods(t) {
		if n := pod.Status.ContainerStatuses[0].RestartCount; n != 0 {
			t.Errorf("%s was restarted %d times", pod.Name, n)
		}
	}
}

// turnOff deletes the Secret of a robot that hangs. The replicas have noticed when
// they have forgotten what they could not tell.
func (s *suite) turnOff(t *testing.T) {
	t.Helper()
	s.deleteSecret(t)
	s.nudge(t)
	s.awaitEmpty(t)
}

// testLatencies compares creations through the apiserver. The spread of the rounds
// without alerts is the noise of the machine; the best round with a robot that
// hangs must lie within it, and no pod may be refused there. A call that waited for
// the robot would last as long as the webhook's timeout. The finer comparison is
// testHang's. The full form adds rounds in turn.
func (s *suite) testLatencies(t *testing.T) {
	for !testing.Short() && len(s.hung) < 5 {
		s.putSecret(t, s.fleet.url(), s.fleet.secret)
		s.nudge(t)
		s.hang(t)
		s.hung = append(s.hung, s.create(t))
		s.turnOff(t)
		s.off = append(s.off, s.create(t))
	}
	if len(s.off) == 0 || len(s.hung) == 0 {
		t.Fatal("an earlier chapter made no load")
	}
	byP99 := func(a, b round) int { return cmp.Compare(a.p(99), b.p(99)) }
	for _, r := range s.off {
		t.Log("no Secret:  ", r)
	}
	for _, r := range s.hung {
		t.Log("robot hangs:", r)
	}
	worst, best := slices.MaxFunc(s.off, byP99), slices.MinFunc(s.hung, byP99)
	if best.p(99) > worst.p(99)+50*time.Millisecond || best.refused > 0 {
		t.Errorf("the best round while the robot hangs: %s; the worst without alerts: %s", best, worst)
	}
}
