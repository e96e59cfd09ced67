package gate

import (
	"testing"
	"time"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

// writer names this package in the markers of a document.
const writer = "test/gate"

// namespace is where pods are created.
const namespace = "gate-load"

// suite is what the chapters share.
type suite struct{ *kit.Suite }

func TestEndToEndGate(t *testing.T) {
	s := setUp(t)
	kit.Run(t, s, []kit.Chapter[*suite]{
		{Name: "every replica away, with each policy", Run: (*suite).testOutage},
		{Name: "the gate is turned on and off under load", Run: (*suite).testSwitch},
		{Name: "replicas are killed under load", Run: (*suite).testKills, Long: true},
		{Name: "without the policy or its binding", Run: (*suite).testMissingPolicy},
		{Name: "the guard refuses what was stripped", Run: (*suite).testGuard},
		{Name: "the service account can only place pods behind the gate", Run: (*suite).testConfinement},
		{Name: "another webhook takes away what ours gave", Run: (*suite).testStripped},
		{Name: "the gate in the pod template", Run: (*suite).testTemplate},
		{Name: "what cannot be placed after an outage", Run: (*suite).testUnplaceable},
		{Name: "a node with a replica vanishes", Run: (*suite).testVanishedNode, Long: true},
		{Name: "many pods at once", Run: (*suite).testMany, Long: true},
	})
	s.Report(t, writer)
}

// setUp installs the webhook, without the gate.
func setUp(t *testing.T) *suite {
	s := &suite{kit.Start(t, kit.Options{Name: "gate", Timeout: 3 * time.Hour})}
	s.LabelNodes(t)
	_, err := s.Install(s.Ctx)
	kit.Must(t, err)
	kit.Must(t, s.Restart(s.Ctx)) // a kept cluster may still run an older image
	s.Namespace(t, namespace)
	return s
}

// startLoad begins to create pods in dry runs, 50 a second.
func (s *suite) startLoad(t *testing.T) *load.Run { return s.startLoadAt(t, 50) }

func (s *suite) startLoadAt(t *testing.T, rate float64) *load.Run {
	t.Helper()
	run, err := load.Start(s.Ctx, load.Options{Target: load.Target{Config: s.Cluster.RESTConfig(), Namespace: namespace}, Rate: rate})
	kit.Must(t, err)
	t.Cleanup(func() { run.Stop() })
	return run
}
