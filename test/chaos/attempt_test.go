package chaos

import (
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
	// t is the test of this webhook while something is injected, and that of the scenario otherwise.
	t *testing.T
	// begin is when all was well, hit when the (last) damage was done.
	begin, hit time.Time
	// before is the signing CA before the injection, bundle the caBundle, forbidden
	// the number of requests of our replicas that had been answered with 403.
	before, bundle string
	forbidden      float64
	// expected are the losses that the injection explains.
	expected []window
	// measured are the times that the design bounds.
	measured []measurement
	// healed is the cell of the table that says how long the Secret was damaged.
	healed string
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

func (a *attempt) must(err error) {
	a.t.Helper()
	kit.Must(a.t, err)
}

func (a *attempt) remark(format string, args ...any) {
	a.remarks = append(a.remarks, fmt.Sprintf(format, args...))
}

func (a *attempt) measure(what string, took, limit time.Duration) {
	a.measured = append(a.measured, measurement{what, took, limit})
}

// expect declares that losses between the two times prove nothing against ours.
func (a *attempt) expect(from, to time.Time, causes ...string) {
	a.expected = append(a.expected, window{from, to, causes})
}

func (a *attempt) startLoad() {
	through := []*rest.Config{a.Cluster.RESTConfig()}
	if a.second != nil {
		through = append(through, a.second.Config)
	}
	for _, config := range through {
		target := load.Target{Config: config, Namespace: loadNamespace, OptIn: a.optIn}
		run, err := load.Start(a.Ctx, load.Options{Target: target, Rate: rate / float64(len(through)), Concurrency: concurrency})
		a.must(err)
		a.loads = append(a.loads, run)
	}
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
func (a *attempt) inject(sc scenario) {
	isControl := a.target == a.control
	injection, limit := sc.ours, settleTimeout
	if isControl {
		injection, limit = sc.control, controlSettleTimeout
		if testing.Short() {
			limit = shortControlSettleTimeout
		}
	}
	if injection != nil {
		injection(a)
	}
	a.Pause(a.pause)
	err := a.settle(limit)
	if err == nil {
		a.Pause(time.Second)
	}
	a.stopLoad() // the other webhook may take longer
	if err != nil && isControl {
		a.remark("the textbook had not recovered when the test went on")
		if testing.Short() {
			return // nobody needs it any more
		}
		a.restart()
		err = a.settle(controlSettleTimeout)
	}
	a.must(err)
}

// fleetWrites are the versions of both objects since begin that the test did not
// make, without the note of a report that is made at most every ten minutes.
func (a *attempt) fleetWrites() int {
	n := len(a.seen.since(a.begin, configKind)) - int(a.writes.Load())
	before := version{}
	for _, v := range a.seen.since(time.Time{}, secretKind) {
		noted := v.reported != "" && v.reported != before.reported && v.rotation.Generation == before.rotation.Generation
		if !v.at.Before(a.begin) && !noted {
			n++
		}
		before = v
	}
	return n
}
