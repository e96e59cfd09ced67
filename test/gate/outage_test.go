package gate

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/webhook"
)

// outage is what became of pods while every replica was away.
type outage struct {
	policy             string
	length             time.Duration
	rate               float64 // creations per second of the load
	load               load.Report
	pods               int           // of StatefulSets
	refused, misplaced int           // of StatefulSets' pods; a pod may be refused more than once
	late               time.Duration // from the first Ready replica to the last pod in its place
	all                bool          // every pod was in its place at the end
}

// lateLimit is the promise: from the first Ready replica until every pod is placed. Only the long form holds the webhook to it, on a
// machine that does nothing else; the short form, which runs on any, holds it to placing every pod.
const lateLimit = 2 * time.Second

// outageLengths are for how long every replica is away, one after the other.
var outageLengths = []time.Duration{10 * time.Second}

func init() {
	flag.Func("outage", "for how long every replica is away: durations, separated by commas", func(text string) error {
		outageLengths = nil
		for part := range strings.SplitSeq(text, ",") {
			length, err := time.ParseDuration(part)
			if err != nil || length <= 0 {
				return errors.New("want positive durations like 10s or 10m,1h, separated by commas")
			}
			outageLengths = append(outageLengths, length)
		}
		return nil
	})
}

const (
	// maxControl is for how long the replicas are away at most in the controls, which show at once what they show.
	maxControl = time.Minute
	// longOutage is from when on the load is light: what is to be seen is how long it lasts.
	longOutage = 10 * time.Minute
)

func (s *suite) testOutage(t *testing.T) {
	s.startFleet(t)
	var rows []outage
	measure := func(policy string, length time.Duration) {
		t.Run(fmt.Sprintf("%s, %s", policy, length), func(t *testing.T) { rows = append(rows, s.outage(t, policy, length)) })
	}
	for _, control := range []string{"Fail", "Ignore"} {
		measure(control, min(outageLengths[0], maxControl))
	}
	for _, length := range outageLengths {
		measure("gate", length)
	}
	if want := 2 + len(outageLengths); len(rows) != want {
		t.Fatalf("%d of %d outages were measured", len(rows), want)
	}
	s.Remark("%s", outageTable(rows))
	expectControls(t, rows[0], rows[1])
	for _, r := range rows[2:] {
		if r.load.Lost() != 0 || r.refused != 0 || r.misplaced != 0 || !r.all || r.load.Count(load.Gated) == 0 {
			t.Errorf("the gate, %s: %d of the load lost (%v), %d refused, %d misplaced, all placed: %v; want none, none, none, true",
				r.length, r.load.Lost(), r.load.Causes(), r.refused, r.misplaced, r.all)
		}
		if !testing.Short() && r.late > lateLimit {
			t.Errorf("the gate, %s: the last pod was placed %s after the first Ready replica, want at most %s", r.length, r.late, lateLimit)
		}
	}
}

// expectControls fails unless the controls show what the gate prevents.
func expectControls(t *testing.T, fail, ignore outage) {
	t.Helper()
	if fail.load.Count(load.Refused) == 0 || fail.refused == 0 || fail.misplaced != 0 {
		t.Errorf("the control Fail: %d of the load and %d pods refused, %d misplaced; want some, some, none", fail.load.Count(load.Refused), fail.refused, fail.misplaced)
	}
	if ignore.load.Count(load.Unmutated) == 0 || ignore.misplaced == 0 || ignore.refused != 0 {
		t.Errorf("the control Ignore: %d of the load and %d pods misplaced, %d refused; want some, some, none", ignore.load.Count(load.Unmutated), ignore.misplaced, ignore.refused)
	}
}

// outageSets are the StatefulSets of an outage: some pods on real nodes, 200 on those of the fleet.
var outageSets = map[string]struct {
	pods   int
	during bool // created while the outage lasts; the others run before it
	fleet  bool
}{
	"before": {pods: 4}, "rolled": {pods: 60, fleet: true}, "deleted": {pods: 60, fleet: true},
	"during": {pods: 8, during: true}, "created": {pods: 80, during: true, fleet: true},
}

// outageSelector finds the pods of all of them.
const outageSelector = "outage=true"

func (s *suite) createOutageSets(t *testing.T, during bool) {
	t.Helper()
	for name, o := range outageSets {
		if o.during != during {
			continue
		}
		set := kit.StatefulSet(name, int32(o.pods), kit.ByParity)
		set.Spec.Template.Labels["outage"] = "true" // outageSelector
		if o.fleet {
			onFleet(set)
		}
		s.createSet(t, set)
	}
}

// refusals counts those of all of them.
func (s *suite) refusals(t *testing.T) (n int) {
	t.Helper()
	for name := range outageSets {
		n += s.failures(t, name)
	}
	return n
}

// outage takes every replica away while pods are created, rolled and deleted.
func (s *suite) outage(t *testing.T, policy string, length time.Duration) outage {
	s.setPolicy(t, policy)
	defer s.setPolicy(t, "Fail")
	r := outage{policy: policy, length: length, rate: 50}
	for name, o := range outageSets {
		r.pods += o.pods
		s.deleteSet(t, name)
		s.Kubectl(t, "delete", "events", "--namespace", namespace, "--field-selector=involvedObject.name="+name)
	}
	s.createOutageSets(t, false)
	for name, o := range outageSets {
		if !o.during {
			s.runs(t, name, o.pods)
		}
	}
	kit.Must(t, s.Scale(s.Ctx, 0))
	if length > longOutage {
		r.rate = 5
	}
	run := s.startLoadAt(t, r.rate)
	s.createOutageSets(t, true)
	s.Kubectl(t, "--namespace", namespace, "rollout", "restart", "statefulset/before", "statefulset/rolled")
	s.Pause(length / 2)
	refused := s.refusals(t)
	s.Kubectl(t, "--namespace", namespace, "delete", "pods", "--selector=set in (during,deleted)", "--wait=false")
	s.Pause(length / 2)
	r.load = run.Stop()
	pods := s.podsWith(t, outageSelector)
	for _, pod := range pods {
		if misplaced(pod) {
			r.misplaced++
		}
	}
	r.refused = max(refused, s.refusals(t)) // events are kept for an hour
	t.Logf("%s: load %v; %d pods stored, %d misplaced, %d refusals", policy, r.load.Causes(), len(pods), r.misplaced, r.refused)
	if policy != "gate" {
		r.late, r.all = s.comeBack(t, outageSelector, r.pods, 10*time.Second)
		return r
	}
	r.late, r.all = s.comeBack(t, outageSelector, r.pods, time.Minute)
	for name, o := range outageSets {
		s.runs(t, name, o.pods)
	}
	return r
}

// comeBack brings the replicas back and waits, no longer than window, until each of the pods has been in its place. late is from the
// first Ready replica to the last of them.
func (s *suite) comeBack(t *testing.T, selector string, pods int, window time.Duration) (late time.Duration, all bool) {
	t.Helper()
	watching, stop := context.WithCancel(s.Ctx)
	defer stop()
	lastPlaced := s.watchPlaced(watching, t, selector, pods)
	s.Kubectl(t, "--namespace", webhook.Namespace, "scale", "deployment/"+webhook.Deployment, "--replicas=2")
	var ready time.Time
	s.Eventually(t, time.Minute, func() error {
		replicas, err := s.Replicas(s.Ctx)
		if err == nil && !slices.ContainsFunc(replicas, kit.Ready) {
			err = fmt.Errorf("none of %d replicas is Ready", len(replicas))
		}
		ready = time.Now()
		return err
	})
	select {
	case last := <-lastPlaced:
		late, all = max(0, last.Sub(ready)), true
	case <-time.After(window):
	case <-s.Ctx.Done():
	}
	kit.Must(t, s.WaitRollout(s.Ctx))
	return late, all
}

func outageTable(rows []outage) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Every replica away, and meanwhile dry runs of creations, and %d pods of StatefulSets, of which most are created, rolled or deleted:\n\n", rows[0].pods)
	b.WriteString("| policy | away for | dry runs a second | refused | stored without selector | behind the gate | refusals of StatefulSets' pods | misplaced | all placed, after the first Ready replica |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		late := fmt.Sprintf("%.1f s", r.late.Seconds())
		if !r.all {
			late = "not within 10 s"
		}
		fmt.Fprintf(&b, "| %s | %s | %.0f | %d of %d | %d | %d | %d | %d | %s |\n", r.policy, r.length, r.rate, r.load.Count(load.Refused, load.Denied), len(r.load.Samples),
			r.load.Count(load.Unmutated, load.WrongSelector), r.load.Count(load.Gated), r.refused, r.misplaced, late)
	}
	return strings.TrimSpace(b.String())
}
