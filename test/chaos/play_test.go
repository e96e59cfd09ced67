package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sts-mutating-webhook/test/load"
)

// event does something to one target.
type event func(context.Context, *shot) error

// scenario is an event and what must hold for ours after it.
type scenario struct {
	name string
	// short: part of the short form too; shortOnly: of that alone; shortControl:
	// there with the textbook.
	short, shortOnly, shortControl bool
	// prepare runs before the load; nil is nothing.
	prepare func(context.Context, *world) error
	// world happens once, to the cluster. ours and control happen to one webhook
	// each, at the same time; a nil control leaves the textbook out.
	world         func(context.Context, *world) error
	ours, control event
	// rescue is what an operator does about the textbook, since it does not
	// recover by itself; nil is nothing.
	rescue event
	// bystander: the world's event hits the textbook too.
	bystander bool

	// heals: the Secret was damaged; it is whole again in 5 s and signed by the same CA.
	heals bool
	// rotates: the CA is another one afterwards; otherwise it is the same.
	rotates bool
	// bundle: the caBundle was damaged from outside; losses end within 1 s.
	bundle bool
	// kills: replicas are killed. Nobody can save the calls inside them, nor the
	// connections made to them before the kubelet has noticed.
	kills bool
	// writes bounds the fleet's writes of both objects.
	writes int
	// starts: the apiserver is started, and may answer 403 until it has read the
	// roles of RBAC.
	starts bool
	// errors are parts of error lines that are expected in the logs of ours.
	errors []string
	// controlLoses: the textbook must lose creations, or the test proves nothing.
	controlLoses bool
}

// patience bounds how long a target may take to settle.
const (
	patience             = 90 * time.Second
	patienceControl      = 150 * time.Second
	patienceControlShort = 15 * time.Second
)

// attempts is how often a scenario is tried while the machine stalls.
const attempts = 3

// play runs a scenario to its row of the table. A run in which the machine stalled
// and creations were lost that it can be blamed for says nothing, and is repeated.
func (w *world) play(ctx context.Context, t *testing.T, sc scenario) row {
	for n := 1; ; n++ {
		shots, stall := w.attempt(ctx, t, sc)
		if n < attempts && stall > stalled && sc.blamesMachine(shots[0]) {
			t.Logf("repeated: the cluster took %.1f s for a pod that no webhook sees", stall.Seconds())
			continue
		}
		if stall > stalled {
			shots[0].remark("the machine stalled for %.1f s", stall.Seconds())
		}
		if n > 1 {
			shots[0].remark("attempt %d, the machine had stalled", n)
		}
		w.judge(ctx, t, sc, shots[0])
		return w.row(t, sc, shots)
	}
}

// stalled is what the creation of a pod that no webhook sees takes when the
// cluster itself is not able to answer; ordinarily it takes a hundredth of that.
const stalled = time.Second

// attempt runs a scenario once. It returns the shots, ours first, and the longest
// time that the cluster took for a pod that no webhook sees.
func (w *world) attempt(ctx context.Context, t *testing.T, sc scenario) ([]*shot, time.Duration) {
	if sc.prepare != nil {
		check(t, sc.prepare(ctx, w))
	}
	canary, err := load.Start(ctx, load.Options{Target: load.Target{Config: w.cluster.RESTConfig(), Namespace: loadNamespace, OptIn: "seen-by-nobody"}, Rate: 5})
	check(t, err)
	defer canary.Stop()
	shots := []*shot{{target: w.ours, world: w}}
	if (sc.control != nil || sc.bystander) && (w.full || sc.shortControl) {
		shots = append(shots, &shot{target: w.control, world: w})
	}
	runs := make([]*load.Run, len(shots))
	check(t, w.ours.settle(ctx, patienceControl))
	shots[0].forbidden, err = w.forbidden(ctx)
	check(t, err)
	for i, s := range shots {
		check(t, s.settle(ctx, patienceControl))
		s.before, s.begin = s.seen.signer(), time.Now()
		run, err := w.load(ctx, s.target)
		check(t, err)
		defer run.Stop()
		runs[i] = run
	}
	check(t, sleep(ctx, w.pause/2))
	if sc.world != nil {
		for _, s := range shots {
			s.hit = time.Now()
		}
		check(t, sc.world(ctx, w))
	}
	var all errgroup.Group
	for i, s := range shots {
		all.Go(func() error { return s.run(ctx, sc, runs[i]) })
	}
	err = all.Wait()
	stall := time.Duration(0)
	for _, s := range canary.Stop().Samples {
		if s.Outcome != load.Unavailable {
			stall = max(stall, s.Latency)
		}
	}
	for i, s := range shots {
		s.report = runs[i].Stop()
		t.Logf("%s: %s", s.name, s.report)
		for cause, n := range s.report.Causes() {
			t.Logf("%s: %d times %s", s.name, n, cause)
		}
	}
	if err != nil {
		shots[0].logVersions(t)
		t.Logf("longest creation of a pod that no webhook sees: %.1f s", stall.Seconds())
		t.Fatal(err)
	}
	return shots, stall
}

// run carries out the event on one target and waits until it has settled.
func (s *shot) run(ctx context.Context, sc scenario, run *load.Run) error {
	mine, limit := sc.ours, patience
	if s.target == s.world.control {
		mine, limit = sc.control, patienceControlShort
		if s.world.full {
			limit = patienceControl
		}
	}
	if mine != nil {
		if err := mine(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if err := sleep(ctx, s.world.pause); err != nil {
		return err
	}
	if s.target == s.world.control && sc.rescue != nil && s.world.full {
		if err := sc.rescue(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	err := s.settle(ctx, limit)
	if err == nil {
		err = sleep(ctx, time.Second)
	}
	s.report, s.end = run.Stop(), time.Now()
	if err != nil && s.target == s.world.control {
		s.remark("the textbook had not recovered when the test went on")
		return s.revive(ctx)
	}
	return err
}

// revive restarts a textbook that does not come back; in the short form nobody
// needs it any more.
func (s *shot) revive(ctx context.Context) error {
	if !s.world.full {
		return nil
	}
	if err := s.restart(ctx); err != nil {
		return err
	}
	return s.settle(ctx, patienceControl)
}

// row puts the figures together.
func (w *world) row(t *testing.T, sc scenario, shots []*shot) row {
	s := shots[0]
	r := row{name: sc.name, ours: figure(s.report), control: "–", healed: "–"}
	if after, ok := s.wholeAfter(); ok && sc.heals {
		r.healed = fmt.Sprintf("%.2f s", after.Seconds())
	}
	secret, configuration := s.fleetWrites()
	r.remarks = append(r.remarks, fmt.Sprintf("%d writes", secret+configuration-s.writes))
	if len(shots) > 1 {
		control := shots[1]
		r.control = figure(control.report)
		if control.report.Lost() == 0 && sc.controlLoses {
			t.Errorf("the textbook lost nothing, so this scenario proves nothing")
		}
	}
	for _, s := range shots {
		if n := s.report.Count(load.Unmutated); n > 0 {
			s.remark("%d unmutated", n)
		}
		if n := s.report.Count(load.Unavailable); n > 0 {
			s.remark("%d not answered by the cluster", n)
		}
		if s.report.Skipped > 0 {
			s.remark("%d not sent", s.report.Skipped)
		}
		for _, text := range s.remarks {
			if s.target == w.control && !strings.Contains(text, "textbook") {
				text = "textbook: " + text
			}
			r.remarks = append(r.remarks, text)
		}
	}
	r.failed = t.Failed()
	return r
}

// figure is a cell of the table: refused creations and the longest outage.
func figure(r load.Report) string {
	refused := []load.Outcome{load.Refused, load.Denied, load.WrongSelector}
	out := r.Outage(refused...)
	if out.Lost == 0 {
		return fmt.Sprintf("0 of %d", len(r.Samples)-r.Count(load.Unavailable))
	}
	return fmt.Sprintf("%d of %d (%.1f s)", r.Count(refused...), len(r.Samples)-r.Count(load.Unavailable), out.Length().Seconds())
}

// flags returns flags with more appended; neither is changed.
func flags(flags []string, more ...string) []string { return slices.Concat(flags, more) }
