package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

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
	// policyWarmUp is how long the policy is used before it is measured; just after
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

var ways = []way{
	noWebhook: {name: "no webhook", optIn: "seen-by-nobody", want: []load.Outcome{load.Unmutated}},
	// It answers every pod alike, as if its ordinal were even.
	throughFloor:    {name: "floor", optIn: "floor", want: []load.Outcome{load.Admitted, load.WrongSelector}},
	throughOurs:     {name: "ours", optIn: load.OptIn, want: []load.Outcome{load.Admitted}},
	throughTextbook: {name: "textbook webhook", optIn: "textbook", want: []load.Outcome{load.Admitted}},
	throughPolicy:   {name: "MutatingAdmissionPolicy", optIn: "policy", want: []load.Outcome{load.Admitted}},
	// Policy, webhook and guard.
	throughGate: {name: "ours, with the gate", optIn: load.OptIn, want: []load.Outcome{load.Admitted}, namespace: gateNamespace},
}

// creations are the latencies of pod creations one way, a value per round.
type creations struct {
	p50, p99 []time.Duration
	// all are those of every round.
	all latencies
	// failed counts pods that were refused or came out wrong.
	failed int
}

// measureCreations takes the ways in turn, several rounds.
func (b *bench) measureCreations(ctx context.Context, rounds int, d time.Duration) ([]creations, error) {
	for i := range ways {
		warm := 2 * time.Second
		if i == throughPolicy || i == throughGate {
			warm = policyWarmUp
		}
		// Not checked: some of the first creations under a new policy time out.
		if _, err := b.create(ctx, ways[i], warm); err != nil {
			return nil, err
		}
	}
	results := make([]creations, len(ways))
	for range rounds {
		for i, w := range ways {
			l, failed, err := b.turn(ctx, w, d)
			if err != nil {
				return nil, err
			}
			results[i].failed += failed
			results[i].all = append(results[i].all, l...)
			results[i].p50 = append(results[i].p50, l.percentile(50))
			results[i].p99 = append(results[i].p99, l.percentile(99))
		}
	}
	return results, nil
}

// create creates pods for a while, as dry runs.
func (b *bench) create(ctx context.Context, w way, d time.Duration) (load.Report, error) {
	namespace := cmp.Or(w.namespace, loadNamespace)
	run, err := load.Start(ctx, load.Options{
		Target: load.Target{Config: b.cluster.RESTConfig(), Namespace: namespace, OptIn: w.optIn}, Rate: creationRate,
	})
	if err != nil {
		return load.Report{}, err
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return run.Stop(), context.Cause(ctx)
}

// turn creates pods one way. It returns how many did not come out as that way
// makes them, and the latencies of the others.
func (b *bench) turn(ctx context.Context, w way, d time.Duration) (l latencies, failed int, err error) {
	begin := time.Now()
	report, err := b.create(ctx, w, d)
	if err != nil {
		return nil, 0, err
	}
	for _, s := range report.Since(begin.Add(settling)).Samples {
		if !slices.Contains(w.want, s.Outcome) {
			failed++
			continue
		}
		l = append(l, s.Latency)
	}
	if len(l) == 0 {
		return nil, 0, fmt.Errorf("create pods, %s: %s: %v", w.name, report, report.Causes())
	}
	return l, failed + report.Skipped, nil
}

// added is how much longer a creation takes than without a webhook, in the median
// over the rounds.
func added(with, without []time.Duration) time.Duration {
	var more []time.Duration
	for i := range with {
		more = append(more, with[i]-without[i])
	}
	return median(more)
}
