package bench

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

const (
	loadNamespace = "bench"
	// gateNamespace is where alone the gate's policies apply.
	gateNamespace = "bench-gate"
	// creations per second through kube-apiserver.
	creationRate = 150
	// settling is left out at the begin of each turn: connections are opened.
	settling = 500 * time.Millisecond
	warmUp   = 2 * time.Second
	// policyWarmUp is how long a policy is used before it is measured; just after
	// it was created, kube-apiserver is still compiling it.
	policyWarmUp = 15 * time.Second
)

// way is one of the ways for a pod to get its node selector.
type way struct {
	name string
	// optIn is the label that sends the pod this way.
	optIn string
	// want are the outcomes that this way leads to.
	want []load.Outcome
	// namespace is where the pods are created; empty is loadNamespace.
	namespace string
	// warmUp is how long it is used before it is measured; zero is warmUp.
	warmUp time.Duration
}

// The indexes of ways, and of the results of measureCreations.
const (
	noWebhook = iota
	throughFloor
	throughOurs
	throughTextbook
	throughPolicy
	throughGate
)

var (
	admitted = []load.Outcome{load.Admitted}
	ways     = []way{
		noWebhook: {name: "no webhook", optIn: "seen-by-nobody", want: []load.Outcome{load.Unmutated}},
		// It answers every pod alike, as if its ordinal were even.
		throughFloor:    {name: "floor", optIn: "floor", want: []load.Outcome{load.Admitted, load.WrongSelector}},
		throughOurs:     {name: "ours", optIn: load.OptIn, want: admitted},
		throughTextbook: {name: "textbook webhook", optIn: "textbook", want: admitted},
		throughPolicy:   {name: "MutatingAdmissionPolicy", optIn: "policy", want: admitted, warmUp: policyWarmUp},
		// Policy, webhook and guard.
		throughGate: {name: "ours, with the gate", optIn: load.OptIn, want: admitted, namespace: gateNamespace, warmUp: policyWarmUp},
	}
)

// creations are pod creations one way.
type creations struct {
	series
	// failed counts pods that were refused or came out wrong.
	failed int
}

// measureCreations takes the ways in turn, several rounds.
func (b *bench) measureCreations(t *testing.T) []creations {
	t.Helper()
	for _, w := range ways {
		// Not checked: some of the first creations under a new policy time out.
		b.create(t, w, cmp.Or(w.warmUp, warmUp))
	}
	results := make([]creations, len(ways))
	for range *rounds {
		for i, w := range ways {
			begin := time.Now()
			report := b.create(t, w, *turn)
			var l []time.Duration
			for _, s := range report.Since(begin.Add(settling)).Samples {
				if slices.Contains(w.want, s.Outcome) {
					l = append(l, s.Latency)
				} else {
					results[i].failed++
				}
			}
			if len(l) == 0 {
				t.Fatalf("create pods, %s: %s: %v", w.name, report, report.Causes())
			}
			results[i].failed += report.Skipped
			results[i].add(l)
		}
	}
	return results
}

// create creates pods for a while, as dry runs.
func (b *bench) create(t *testing.T, w way, d time.Duration) load.Report {
	t.Helper()
	target := load.Target{Config: b.Cluster.RESTConfig(), Namespace: cmp.Or(w.namespace, loadNamespace), OptIn: w.optIn}
	run, err := load.Start(b.Ctx, load.Options{Target: target, Rate: creationRate})
	kit.Must(t, err)
	defer run.Stop()
	kit.Must(t, kit.Sleep(b.Ctx, d))
	return run.Stop()
}
