package chaos

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

// injection does something to one webhook.
type injection func(context.Context, *attempt) error

// form says in which forms of the suite a scenario is.
type form int

const (
	longForm    form = iota // without -short
	bothForms               // in both, with -short without the textbook
	withControl             // in both, with the textbook
	shortForm               // with -short alone: another scenario holds it
)

// repair is what ours has to put right, in time.
type repair int

const (
	nothingToRepair repair = iota
	secretRepair           // the Secret was damaged; it is whole again and signed by the same CA
	bundleRepair           // the caBundle was damaged from outside; it is back
)

// scenario is an injection and what must hold for ours after it.
type scenario struct {
	name string
	form form
	// prepare runs before the load, undo when all is over, also after a failure;
	// nil is nothing. If prepare starts a second apiserver, half of the load goes through it.
	prepare, undo func(context.Context, *suite) error
	// cluster happens once, to the whole cluster. ours and control happen to one
	// webhook each, at the same time; a nil control leaves the textbook out.
	cluster       func(context.Context, []*attempt) error
	ours, control injection
	// rescue is what an operator does about the textbook, since it does not
	// recover by itself; nil is nothing.
	rescue injection

	repair repair
	// rotates: the CA is another one afterwards; otherwise it is the same.
	rotates bool
	// writes bounds the replicas' writes of both objects.
	writes int
	// forbids: the apiserver answers 403, because the scenario takes a right away or
	// because an apiserver that starts has not read the roles of RBAC yet.
	forbids bool
	// errors are parts of error lines that are expected in the logs of ours.
	errors []string
	// verify checks what only this scenario promises, after ours has settled.
	verify injection
	// data names the file of counts, second by second, that the flag -data asks for; empty is none.
	data string
	// controlLoses: the textbook must lose creations, or the test proves nothing.
	controlLoses bool
}

// suffers is the control's injection where only the cluster is damaged.
func suffers(context.Context, *attempt) error { return nil }

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
func (s *suite) run(ctx context.Context, t *testing.T, sc scenario) row {
	for n := 1; ; n++ {
		if r, done := s.try(ctx, t, sc, n); done {
			return r
		}
	}
}

// try is attempt number n; false when it says nothing.
func (s *suite) try(ctx context.Context, t *testing.T, sc scenario, n int) (row, bool) {
	if sc.undo != nil {
		defer func() {
			if err := sc.undo(context.WithoutCancel(ctx), s); err != nil {
				t.Error(err)
			}
		}()
	}
	if sc.prepare != nil {
		kit.Must(t, sc.prepare(ctx, s))
	}
	attempts, stall := s.observe(ctx, t, sc)
	a := attempts[0]
	if n < maxAttempts && a.blamesMachine(stall) {
		t.Logf("repeated: the cluster took %.1f s for a pod that no webhook sees: %v %v", stall.Seconds(), a.late(), a.unexplained())
		return row{}, false
	}
	if stall > stalled {
		a.remark("the machine stalled for %.1f s", stall.Seconds())
	}
	if n > 1 {
		a.remark("attempt %d, the machine had stalled", n)
	}
	s.check(ctx, t, sc, a)
	if sc.data != "" && *dataDir != "" {
		kit.Must(t, writeSeconds(filepath.Join(*dataDir, sc.data), attempts))
	}
	return s.row(t, sc, attempts), true
}

// observe carries out the injection under load. It returns the attempts, ours
// first, and the longest time that the cluster took for a pod that no webhook sees.
func (s *suite) observe(ctx context.Context, t *testing.T, sc scenario) ([]*attempt, time.Duration) {
	attempts, err := s.begin(ctx, sc)
	kit.Must(t, err)
	unseen := load.Target{Config: s.Cluster.RESTConfig(), Namespace: loadNamespace, OptIn: "seen-by-nobody"}
	canary, err := load.Start(ctx, load.Options{Target: unseen, Rate: 5})
	kit.Must(t, err)
	defer canary.Stop()
	for _, a := range attempts {
		kit.Must(t, a.startLoad(ctx, sc))
		defer a.stopLoad()
	}
	err = s.inject(ctx, sc, attempts)
	stall := longest(canary.Stop())
	for _, a := range attempts {
		a.stopLoad()
		t.Logf("%s: %s", a.name, a.report)
		for cause, n := range a.report.Causes() {
			t.Logf("%s: %d times %s", a.name, n, cause)
		}
	}
	if err != nil {
		attempts[0].logVersions(t)
		t.Logf("longest creation of a pod that no webhook sees: %.1f s", stall.Seconds())
		t.Fatal(err)
	}
	attempts[0].measureRepairs(sc)
	return attempts, stall
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

// begin waits until all is well and notes what is before the injection.
func (s *suite) begin(ctx context.Context, sc scenario) ([]*attempt, error) {
	attempts := []*attempt{{target: s.ours, suite: s}}
	if sc.control != nil && (!testing.Short() || sc.form == withControl) {
		attempts = append(attempts, &attempt{target: s.control, suite: s})
	}
	for _, a := range attempts {
		if err := a.settle(ctx, controlSettleTimeout); err != nil {
			return nil, err
		}
	}
	for _, a := range attempts {
		a.before, a.bundle, a.begin = a.seen.signer(), a.seen.newest(configKind).bundle, time.Now()
	}
	var err error
	attempts[0].forbidden, err = s.forbidden(ctx)
	return attempts, err
}

// inject carries out the injection on all webhooks at once and returns when they have settled.
func (s *suite) inject(ctx context.Context, sc scenario, attempts []*attempt) error {
	if err := kit.Sleep(ctx, s.pause/2); err != nil {
		return err
	}
	if sc.cluster != nil {
		for _, a := range attempts {
			a.hit = time.Now()
		}
		if err := sc.cluster(ctx, attempts); err != nil {
			return err
		}
	}
	var all errgroup.Group
	for _, a := range attempts {
		all.Go(func() error { return a.inject(ctx, sc) })
	}
	return all.Wait()
}
