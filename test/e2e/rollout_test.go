package e2e

import (
	"errors"
	"testing"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

// testRollout restarts the webhook under 50 creations a second, far above what a StatefulSet controller asks for. Each pod must be
// placed: a webhook that is skipped is as bad as one that does not answer.
func (s *suite) testRollout(t *testing.T) {
	namespace := s.namespace(t)
	before, err := s.Replicas(s.Ctx)
	kit.Must(t, err)
	run := s.startCreations(t, namespace, load.OptIn, 64) // fewer than 50 a second when answers are slow
	restarted := s.within(s.Restart)
	// Old replicas drain for some seconds after the rollout has finished.
	drained := s.within(s.WaitDrained)
	report := run.Stop()
	kit.Must(t, errors.Join(restarted, drained))
	t.Logf("%d creations during the rollout, slowest %.0f ms: %s", len(report.Samples), report.Latency(100).Seconds()*1000, report)
	if causes := report.Causes(); len(causes) > 0 || len(report.Samples) < 100 {
		t.Errorf("got %d creations, not placed: %v; want at least 100, all placed", len(report.Samples), causes)
	}
	after, err := s.Replicas(s.Ctx)
	kit.Must(t, err)
	for _, old := range before {
		for _, pod := range after {
			if pod.UID == old.UID {
				t.Errorf("%s was not replaced", pod.Name)
			}
		}
	}
}
