package gate

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// outageFlag is for how long every replica is away, once for each of the durations.
var outageFlag = flag.String("outage", "10s", "for how long every replica is away: durations, separated by commas")

// outageLengths parses outageFlag.
func outageLengths() (lengths []time.Duration, err error) {
	for text := range strings.SplitSeq(*outageFlag, ",") {
		length, err := time.ParseDuration(text)
		if err != nil || length <= 0 {
			return nil, fmt.Errorf("-outage=%q: want positive durations like 10s or 10m,1h, separated by commas", *outageFlag)
		}
		lengths = append(lengths, length)
	}
	return lengths, nil
}

const (
	// maxControl is for how long the replicas are away at most in the controls, which show at once what they show.
	maxControl = time.Minute
	// longOutage is from when on the load is light: what is to be seen is how long it lasts.
	longOutage = 10 * time.Minute
)

func (s *suite) testOutage(t *testing.T) {
	lengths, err := outageLengths()
	kit.Must(t, err)
	s.startFleet(t)
	var rows []outage
	measure := func(policy string, length time.Duration) {
		t.Run(fmt.Sprintf("%s, %s", policy, length), func(t *testing.T) { rows = append(rows, s.outage(t, policy, length)) })
	}
	for _, control := range []string{"Fail", "Ignore"} {
		measure(control, min(lengths[0], maxControl))
	}
	for _, length := range lengths {
		measure("gate", length)
	}
	if want := 2 + len(lengths); len(rows) != want {
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

// The StatefulSets of an outage: some pods on real nodes, 200 on those of the fleet.
var (
	older   = map[string]int32{"before": 4, "rolled": 60, "deleted": 60} // they run before it
	younger = map[string]int32{"during": 8, "created": 80}               // created while it lasts
)

// outageSet is one of them. Only "before" and "during" are on real nodes.
func outageSet(name string, replicas int32) *appsv1.StatefulSet {
	set := kit.StatefulSet(name, replicas, kit.ByParity)
	set.Spec.Template.Labels["outage"] = "true" // outageSelector
	if name == "before" || name == "during" {
		return set
	}
	return onFleet(set)
}

// outageSelector finds the pods of all of them.
const outageSelector = "outage=true"

// outagePods are the pods of all of them.
func (s *suite) outagePods(t *testing.T) []corev1.Pod {
	t.Helper()
	list, err := s.Client.CoreV1().Pods(namespace).List(s.Ctx, metav1.ListOptions{LabelSelector: outageSelector})
	kit.Must(t, err)
	return list.Items
}

// refusals counts those of all of them.
func (s *suite) refusals(t *testing.T) (n int) {
	t.Helper()
	for _, sets := range []map[string]int32{older, younger} {
		for name := range sets {
			n += s.failures(t, name)
		}
	}
	return n
}

// outage takes every replica away while pods are created, rolled and deleted.
func (s *suite) outage(t *testing.T, policy string, length time.Duration) outage {
	s.setPolicy(t, policy)
	defer s.setPolicy(t, "Fail")
	total := 0
	for _, sets := range []map[string]int32{older, younger} {
		for name, replicas := range sets {
			total += int(replicas)
			s.deleteSet(t, name)
			s.Kubectl(t, "delete", "events", "--namespace", namespace, "--field-selector=involvedObject.name="+name)
		}
	}
	for name, replicas := range older {
		s.createSet(t, outageSet(name, replicas))
		s.runs(t, name, int(replicas))
	}
	kit.Must(t, s.Scale(s.Ctx, 0))
	rate := 50.0
	if length > longOutage {
		rate = 5
	}
	run := s.startLoadAt(t, rate)
	for name, replicas := range younger {
		s.createSet(t, outageSet(name, replicas))
	}
	s.Kubectl(t, "--namespace", namespace, "rollout", "restart", "statefulset/before", "statefulset/rolled")
	s.Pause(length / 2)
	refused := s.refusals(t)
	s.Kubectl(t, "--namespace", namespace, "delete", "pods", "--selector=set in (during,deleted)", "--wait=false")
	s.Pause(length / 2)
	r := outage{policy: policy, length: length, rate: rate, load: run.Stop()}
	pods := s.outagePods(t)
	r.pods = total
	for _, pod := range pods {
		if misplaced(pod) {
			r.misplaced++
		}
	}
	r.refused = max(refused, s.refusals(t)) // events are kept for an hour
	t.Logf("%s: load %v; %d pods stored, %d misplaced, %d refusals", policy, r.load.Causes(), len(pods), r.misplaced, r.refused)
	window := 10 * time.Second
	if policy == "gate" {
		window = time.Minute
	}
	r.late, r.all = s.comeBack(t, outageSelector, total, window)
	if policy == "gate" {
		for _, sets := range []map[string]int32{older, younger} {
			for name, replicas := range sets {
				s.runs(t, name, int(replicas))
			}
		}
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
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(replicas, kit.Ready) {
			return fmt.Errorf("none of %d replicas is Ready", len(replicas))
		}
		ready = time.Now()
		return nil
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
