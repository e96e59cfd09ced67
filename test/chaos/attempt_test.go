package chaos

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

const (
	// rate is how many pods are created per second for each webhook.
	rate = 50
	// concurrency bounds the creations under way in each load. Without it a machine
	// that stalls would be kept down by the connections that the apiserver makes for
	// each call beyond those it has.
	concurrency = 64
)

// attempt is one scenario on one webhook.
type attempt struct {
	*target
	suite *suite
	// begin is when all was well, hit when the (last) damage was done.
	begin, hit time.Time
	// before is the signing CA before the injection, bundle the caBundle, forbidden
	// the number of requests of our replicas that had been answered with 403.
	before, bundle string
	forbidden      float64
	// expected are the losses that the injection explains.
	expected []window
	// measured are the times that the design bounds, failures what did not happen at all.
	measured []measurement
	failures []string
	// writes counts the test's own writes to the two objects.
	writes  atomic.Int64
	remarks []string

	// loads go through the apiserver, the second one of them through the second.
	loads  []*load.Run
	report load.Report
}

// window is a time in which creations may be lost.
type window struct {
	from, to time.Time
	// causes are parts of the causes of refusals; none means every loss.
	causes []string
}

// covers reports whether the window explains the loss of a creation.
func (w window) covers(s load.Sample) bool {
	if !s.End().After(w.from) || !s.Start.Before(w.to) {
		return false
	}
	return len(w.causes) == 0 || s.Outcome == load.Refused && holdsAny(s.Cause, w.causes)
}

// measurement is a time that must stay below its limit.
type measurement struct {
	what        string
	took, limit time.Duration
}

func (m measurement) String() string {
	return fmt.Sprintf("%s: after %.2f s, want within %s", m.what, m.took.Seconds(), m.limit)
}

func (a *attempt) remark(format string, args ...any) {
	a.remarks = append(a.remarks, fmt.Sprintf(format, args...))
}

func (a *attempt) fail(format string, args ...any) {
	a.failures = append(a.failures, fmt.Sprintf(format, args...))
}

func (a *attempt) measure(what string, took, limit time.Duration) {
	a.measured = append(a.measured, measurement{what, took, limit})
}

// expect declares that losses between the two times prove nothing against ours.
func (a *attempt) expect(from, to time.Time, causes ...string) {
	a.expected = append(a.expected, window{from, to, causes})
}

func (a *attempt) startLoad(ctx context.Context, sc scenario) error {
	through := []*rest.Config{a.suite.Cluster.RESTConfig()}
	if a.suite.second != nil {
		through = append(through, a.suite.second.Config)
	}
	for _, config := range through {
		run, err := load.Start(ctx, load.Options{
			Target: load.Target{Config: config, Namespace: loadNamespace, OptIn: a.optIn}, Rate: rate / float64(len(through)), Concurrency: concurrency,
		})
		if err != nil {
			return err
		}
		a.loads = append(a.loads, run)
	}
	return nil
}

// stopLoad may be called again.
func (a *attempt) stopLoad() {
	var reports []load.Report
	for _, run := range a.loads {
		reports = append(reports, run.Stop())
	}
	a.report = load.Join(reports...)
}

// inject carries out the injection on one webhook and waits until it has settled.
func (a *attempt) inject(ctx context.Context, sc scenario) error {
	injection, limit := sc.ours, settleTimeout
	isControl := a.target == a.suite.control
	if isControl {
		injection, limit = sc.control, shortControlSettleTimeout
		if !testing.Short() {
			limit = controlSettleTimeout
		}
	}
	if injection != nil {
		if err := injection(ctx, a); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
	}
	if err := kit.Sleep(ctx, a.suite.pause); err != nil {
		return err
	}
	if isControl && sc.rescue != nil && !testing.Short() {
		if err := sc.rescue(ctx, a); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
	}
	err := a.settle(ctx, limit)
	if err == nil {
		err = kit.Sleep(ctx, time.Second)
	}
	a.stopLoad() // the other webhook may take longer
	if err != nil && isControl {
		a.remark("the textbook had not recovered when the test went on")
		return a.revive(ctx)
	}
	if err == nil && !isControl && sc.verify != nil {
		return sc.verify(ctx, a)
	}
	return err
}

// revive restarts a textbook that does not come back; in the short form nobody
// needs it any more.
func (a *attempt) revive(ctx context.Context) error {
	if testing.Short() {
		return nil
	}
	if err := a.restart(ctx); err != nil {
		return err
	}
	return a.settle(ctx, controlSettleTimeout)
}

// fleetWrites are the versions of both objects since begin that the test did not
// make, without the note of a report that is made at most every ten minutes.
func (a *attempt) fleetWrites() int {
	secrets, _ := a.seen.after(time.Time{}, secretKind)
	configurations, _ := a.seen.after(a.begin, configKind)
	n := len(configurations) - int(a.writes.Load())
	before := version{}
	for _, v := range secrets {
		noted := v.reported != "" && v.reported != before.reported && v.rotation.Generation == before.rotation.Generation
		if !v.at.Before(a.begin) && !noted {
			n++
		}
		before = v
	}
	return n
}

// wholeAfter is how long the Secret was damaged; false when it still is, or when
// another CA signs now.
func (a *attempt) wholeAfter() (time.Duration, bool) {
	versions, _ := a.seen.after(a.hit, secretKind)
	damaged := false
	for _, v := range versions {
		recorded := a.target == a.suite.control || v.rotation.Generation > 0
		good := v.isWhole() && recorded && v.keyring.signer == a.before
		if damaged && good {
			return v.at.Sub(a.hit), true
		}
		damaged = damaged || !good
	}
	return 0, false
}

// bundleAfter is how long the caBundle was another one; false when it still is.
func (a *attempt) bundleAfter() (time.Duration, bool) {
	versions, _ := a.seen.after(a.hit, configKind)
	for i, v := range versions {
		if i > 0 && !v.deleted && v.bundle == a.bundle {
			return v.at.Sub(a.hit), true
		}
	}
	return 0, false
}
