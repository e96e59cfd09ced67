package chaos

import (
	"context"
	"fmt"
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
	shots, err := w.aim(ctx, sc)
	check(t, err)
	canary, err := load.Start(ctx, load.Options{Target: load.Target{Config: w.cluster.RESTConfig(), Namespace: loadNamespace, OptIn: "seen-by-nobody"}, Rate: 5})
	check(t, err)
	defer canary.Stop()
	for _, s := range shots {
		s.load, err = w.load(ctx, s.target)
		check(t, err)
		defer s.load.Stop()
	}
	err = w.fire(ctx, sc, shots)
	stall := longest(canary.Stop())
	for _, s := range shots {
		s.report = s.load.Stop()
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

// aim waits until all is well and notes what is before the event.
func (w *world) aim(ctx context.Context, sc scenario) ([]*shot, error) {
	shots := []*shot{{target: w.ours, world: w}}
	if (sc.control != nil || sc.bystander) && (w.full || sc.shortControl) {
		shots = append(shots, &shot{target: w.control, world: w})
	}
	for _, s := range shots {
		if err := s.settle(ctx, patienceControl); err != nil {
			return nil, err
		}
	}
	for _, s := range shots {
		s.before, s.bundle, s.begin = s.seen.signer(), s.seen.newest("configuration").bundle, time.Now()
	}
	var err error
	shots[0].forbidden, err = w.forbidden(ctx)
	return shots, err
}

// fire carries out the event on all targets at once and returns when they have settled.
func (w *world) fire(ctx context.Context, sc scenario, shots []*shot) error {
	if err := sleep(ctx, w.pause/2); err != nil {
		return err
	}
	if sc.world != nil {
		for _, s := range shots {
			s.hit = time.Now()
		}
		if err := sc.world(ctx, w); err != nil {
			return err
		}
	}
	var all errgroup.Group
	for _, s := range shots {
		all.Go(func() error { return s.run(ctx, sc) })
	}
	return all.Wait()
}

// run carries out the event on one target and waits until it has settled.
func (s *shot) run(ctx context.Context, sc scenario) error {
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
	s.load.Stop() // the other target may take longer
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
