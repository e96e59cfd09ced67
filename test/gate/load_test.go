package gate

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/process"
)

// expectNoneLost fails if a creation was refused or could start on a wrong node.
func expectNoneLost(t *testing.T, r load.Report) {
	t.Helper()
	if len(r.Samples) < 50 {
		t.Errorf("%d creations, too few to prove anything", len(r.Samples))
	}
	if n := r.Lost() + r.Count(load.Unavailable); n != 0 {
		t.Errorf("%d of %d creations were lost, want none: %v", n, len(r.Samples), r.Causes())
	}
}

// underLoad creates pods while something happens, and remarks what became of them.
func (s *suite) underLoad(t *testing.T, what string, happens func()) load.Report {
	t.Helper()
	run := s.startLoad(t)
	happens()
	r := run.Stop()
	var all []time.Duration
	for _, sample := range r.Samples {
		all = append(all, sample.Latency)
	}
	if len(all) == 0 {
		t.Fatalf("%s: no pod was created", what)
	}
	slices.Sort(all)
	s.Remark("%s: %d of %d creations lost, %d stored behind the gate; p99 %d ms.",
		what, r.Lost(), len(r.Samples), r.Count(load.Gated), all[len(all)*99/100].Milliseconds())
	return r
}

// withAndWithoutGate has the same happen with failurePolicy Fail, as the control, and with the gate. It fails if a creation was lost
// with the gate, or if either shows nothing: creations must be lost with Fail, and some must be stored behind the gate.
func (s *suite) withAndWithoutGate(t *testing.T, what string, happens func(t *testing.T, policy string)) {
	for _, policy := range []string{"Fail", "gate"} {
		t.Run(policy, func(t *testing.T) {
			s.setPolicy(t, policy)
			r := s.underLoad(t, what+", policy "+policy, func() { happens(t, policy) })
			if policy == "gate" {
				expectNoneLost(t, r)
				if r.Count(load.Gated) == 0 {
					t.Error("no pod was stored behind the gate, so this proves nothing")
				}
			} else if r.Lost() == 0 {
				t.Error("the control lost nothing, so this proves nothing")
			}
		})
	}
}

// testSwitch turns the gate on and off while a StatefulSet is rolled and pods are created.
func (s *suite) testSwitch(t *testing.T) {
	kit.Must(t, s.StopGate(s.Ctx))
	s.deleteSet(t, "switched")
	s.createSet(t, kit.StatefulSet("switched", 4, kit.ByParity))
	s.runs(t, "switched", 4)
	rounds := 2
	if !testing.Short() {
		rounds = 5
	}
	expectNoneLost(t, s.underLoad(t, fmt.Sprintf("Turned on and off %d times under 50 creations a second", rounds), func() {
		for range rounds {
			s.Kubectl(t, "--namespace", namespace, "rollout", "restart", "statefulset/switched")
			kit.Must(t, s.StartGate(s.Ctx))
			s.Pause(2 * time.Second)
			kit.Must(t, s.StopGate(s.Ctx))
			s.Pause(2 * time.Second)
		}
	}))
	s.runs(t, "switched", 4)
	if n := s.failures(t, "switched"); n != 0 {
		t.Errorf("%d pods of the StatefulSet were refused, want none", n)
	}
	s.deleteSet(t, "switched")
}

// testKills ends replicas without warning, one after the other and both at once.
func (s *suite) testKills(t *testing.T) {
	const rounds = 5
	what := fmt.Sprintf("SIGKILL of one replica, of the other, and of both, %d times (Fail: once)", rounds)
	s.withAndWithoutGate(t, what, func(t *testing.T, policy string) {
		for round := range rounds {
			if round > 0 && policy == "Fail" {
				break // the control shows at once what it shows
			}
			kit.Must(t, s.Restart(s.Ctx)) // a container that is killed again and again is restarted after minutes
			for _, which := range [][]int{{0}, {1}, {0, 1}} {
				s.kill(t, which)
			}
		}
	})
}

// kill ends the processes of those replicas at once and waits until they are Ready again.
func (s *suite) kill(t *testing.T, which []int) {
	t.Helper()
	replicas, err := s.Replicas(s.Ctx)
	kit.Must(t, err)
	slices.SortFunc(replicas, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	before := map[string]int32{}
	for _, i := range which {
		pid, err := process.PID(replicas[i], "/sts-webhook")
		kit.Must(t, err)
		before[replicas[i].Name] = replicas[i].Status.ContainerStatuses[0].RestartCount
		kit.Must(t, unix.Kill(pid, unix.SIGKILL))
	}
	s.Eventually(t, 2*time.Minute, func() error {
		now, err := s.Replicas(s.Ctx)
		if err != nil {
			return err
		}
		for _, pod := range now {
			status := pod.Status.ContainerStatuses[0]
			if n, killed := before[pod.Name]; killed && (status.RestartCount == n || !status.Ready) {
				return fmt.Errorf("%s was not restarted", pod.Name)
			}
		}
		return nil
	})
	s.Pause(time.Second) // the Service follows
}

// testMissingPolicy takes away the parts of the gate under load, with replicas and
// without: pods without a gate are then those of the webhook with failurePolicy Fail.
func (s *suite) testMissingPolicy(t *testing.T) {
	s.setPolicy(t, "gate")
	const file = "manifests/optional/gate/10-policy.yaml"
	for _, replicas := range []bool{true, false} {
		t.Run(fmt.Sprintf("replicas %v", replicas), func(t *testing.T) {
			if !replicas {
				kit.Must(t, s.Scale(s.Ctx, 0))
				defer func() { kit.Must(t, s.Scale(s.Ctx, 2)) }()
			}
			run := s.startLoad(t)
			for _, kind := range []string{"mutatingadmissionpolicybinding", "mutatingadmissionpolicy"} {
				s.Kubectl(t, "delete", kind, "sts-webhook-gate")
				s.Pause(2 * time.Second)
				s.Kubectl(t, "apply", "-f", s.Path(file))
				s.Pause(2 * time.Second)
			}
			r := run.Stop()
			if replicas {
				expectNoneLost(t, r)
				return
			}
			if n := r.Count(load.Unmutated, load.WrongSelector, load.Denied); n != 0 || r.Count(load.Gated) == 0 || r.Count(load.Refused) == 0 {
				t.Errorf("%d slipped through or were denied, %d behind the gate, %d refused; want none, some, some: %v",
					n, r.Count(load.Gated), r.Count(load.Refused), r.Causes())
			}
			s.Remark("No replica, and the binding, then the policy, deleted and applied again: %d of %d creations behind the gate, %d refused, %d without selector.",
				r.Count(load.Gated), len(r.Samples), r.Count(load.Refused), r.Count(load.Unmutated))
		})
	}
}
