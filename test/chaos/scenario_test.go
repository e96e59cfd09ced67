package chaos

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

// step does something to one webhook. It ends the test if that fails.
type step func(*attempt)

// form says in which forms of the suite a scenario is.
type form int

const (
	longForm  form = iota // without -short
	bothForms             // in both, with -short without the textbook
	shortForm             // with -short alone, with the textbook: another scenario holds it
)

// scenario is an injection and what must hold for ours after it.
type scenario struct {
	name string
	form form
	// prepare runs before the load, undo when all is over, also after a failure;
	// nil is nothing. If prepare starts a second apiserver, half of the load goes through it.
	prepare, undo step
	// cluster happens once, to the whole cluster. ours and control happen to one
	// webhook each, at the same time; a nil control leaves the textbook out.
	cluster       func([]*attempt)
	ours, control step

	// repair measures what ours had to put right, before it is checked; nil is nothing.
	repair step
	// rotates: the CA is another one afterwards; otherwise it is the same.
	rotates bool
	// writes bounds the replicas' writes of both objects.
	writes int
	// forbids: the apiserver answers 403, because the scenario takes a right away or
	// because an apiserver that starts has not read the roles of RBAC yet.
	forbids bool
	// errors are parts of error lines that are expected in the logs of ours.
	errors []string
	// data names the file of counts, second by second, that the flag -data writes; empty is none.
	data string
	// controlLoses: the textbook must lose creations, or the test proves nothing.
	controlLoses bool
}

// Bounds of the time that a webhook may take to settle.
const (
	settleTimeout             = 90 * time.Second
	controlSettleTimeout      = 150 * time.Second
	shortControlSettleTimeout = 15 * time.Second
)

// maxAttempts is how often a scenario is tried while the machine stalls.
const maxAttempts = 3

// run runs a scenario to its row of the table. An attempt in which the machine
// stalled, and in which that can be the cause of all that went wrong, says nothing
// and is repeated.
func (s *suite) run(t *testing.T, sc scenario) row {
	for n := 1; ; n++ {
		if r, done := s.try(t, sc, n); done {
			return r
		}
	}
}

// try is attempt number n; false when it says nothing.
func (s *suite) try(t *testing.T, sc scenario, n int) (row, bool) {
	if sc.undo != nil {
		defer s.undo(t, sc.undo)
	}
	if sc.prepare != nil {
		sc.prepare(&attempt{target: s.ours, t: t})
	}
	a := &attempt{target: s.ours, t: t}
	attempts := []*attempt{a}
	if sc.control != nil && (!testing.Short() || sc.form == shortForm) {
		attempts = append(attempts, &attempt{target: s.control, t: t})
	}
	defer func() {
		if !t.Failed() {
			return
		}
		for _, v := range append(a.seen.since(a.begin, secretKind), a.seen.since(a.begin, configKind)...) {
			t.Log(v)
		}
	}()
	stall := s.observe(t, sc, attempts)
	if n < maxAttempts && a.stallExplains(stall, t.Failed()) {
		t.Logf("repeated: the cluster took %.1f s for a pod that no webhook sees: %v %v", stall.Seconds(), a.late(), a.unexplained())
		return row{}, false
	}
	if stall > stalled {
		a.remark("the machine stalled for %.1f s", stall.Seconds())
	}
	if n > 1 {
		a.remark("attempt %d, the machine had stalled", n)
	}
	a.check(sc)
	if sc.data != "" && *dataDir != "" {
		kit.Must(t, writeSeconds(filepath.Join(*dataDir, sc.data), attempts))
	}
	return s.row(t, sc, attempts), true
}

// undo makes good what a scenario did, also after an interrupt: a cluster that is kept is used again.
func (s *suite) undo(t *testing.T, undo step) {
	ctx := s.Ctx
	s.Ctx = context.WithoutCancel(ctx)
	defer func() { s.Ctx = ctx }()
	undo(&attempt{target: s.ours, t: t})
}

// observe waits until all is well and carries out the injection under load. It returns
// the longest time that the cluster took for a pod that no webhook sees.
func (s *suite) observe(t *testing.T, sc scenario, attempts []*attempt) time.Duration {
	for _, a := range attempts {
		a.must(a.settle(controlSettleTimeout))
	}
	for _, a := range attempts {
		a.before, a.bundle, a.begin = a.seen.signer(), a.seen.newest(configKind).bundle, time.Now()
	}
	attempts[0].forbidden = attempts[0].countForbidden()
	canary, err := load.Start(s.Ctx, load.Options{Rate: 5, Target: load.Target{
		Config: s.Cluster.RESTConfig(), Namespace: loadNamespace, OptIn: "seen-by-nobody",
	}})
	kit.Must(t, err)
	finish := sync.OnceValue(func() time.Duration {
		stall := longest(canary.Stop())
		for _, a := range attempts {
			a.stopLoad()
			t.Logf("%s: %s", a.name, a.report)
			for cause, n := range a.report.Causes() {
				t.Logf("%s: %d times %s", a.name, n, cause)
			}
		}
		t.Logf("longest creation of a pod that no webhook sees: %.1f s", stall.Seconds())
		return stall
	})
	defer finish() // also if an injection ends the test
	for _, a := range attempts {
		a.startLoad()
	}
	s.Pause(s.pause / 2)
	if sc.cluster != nil {
		for _, a := range attempts {
			a.hit = time.Now()
		}
		sc.cluster(attempts)
	}
	var all sync.WaitGroup
	for _, a := range attempts {
		all.Go(func() {
			t.Run(a.name, func(t *testing.T) {
				a.t = t
				a.inject(sc)
			})
			a.t = t
		})
	}
	all.Wait()
	stall := finish()
	if t.Failed() {
		t.FailNow()
	}
	if sc.repair != nil {
		sc.repair(attempts[0])
	}
	return stall
}

// longest is the longest creation that the cluster answered.
func longest(canary load.Report) time.Duration {
	stall := time.Duration(0)
	for _, s := range canary.Samples {
		if s.Outcome != load.Unavailable {
			stall = max(stall, s.Latency)
		}
	}
	return stall
}
