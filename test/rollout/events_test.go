package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

// event is something that happens to replicas of our webhook, then to the textbook's.
type event struct {
	name string
	// abrupt: the replica gets no signal to end, so calls under way cannot be saved.
	abrupt bool
	// replicas at the beginning; zero means replicas.
	replicas int
	happens  func(*fleet, *testing.T)
}

func events() []event {
	restarts := 10
	if testing.Short() {
		restarts = 2
	}
	all := []event{
		{name: fmt.Sprintf("%d rolling restarts", restarts), happens: func(f *fleet, t *testing.T) {
			for range restarts {
				f.restart(t)
			}
		}},
		{name: "`kubectl delete pod` of a replica", happens: (*fleet).deletePod},
		{name: "drain of a node", happens: (*fleet).drain},
		{name: "scale 2 -> 5 -> 2", happens: func(f *fleet, t *testing.T) {
			for _, n := range []int{5, replicas} {
				f.scale(t, n)
				f.settle(t)
			}
		}},
		{name: "SIGKILL of a replica", abrupt: true, happens: (*fleet).kill},
	}
	if testing.Short() {
		return all
	}
	return append(all,
		event{name: "5 x SIGKILL of a replica", abrupt: true, happens: func(f *fleet, t *testing.T) {
			for range 5 {
				f.kill(t)
				f.deletePod(t) // a container that is killed again and again waits before its restart
				f.settle(t)
			}
		}},
		event{name: "a node vanishes (1 of 3 replicas)", abrupt: true, replicas: 3, happens: (*fleet).loseNode},
	)
}

func (s *suite) testEvents(t *testing.T) {
	controlLost := 0
	for _, e := range events() {
		t.Run(strings.Trim(e.name, "`"), func(t *testing.T) {
			reports := []load.Report{s.ours.suffer(t, e)}
			defer func() { s.addRow(e.name, reports...) }() // also when the control does not recover
			if s.control != nil {
				reports = append(reports, s.control.suffer(t, e))
			}
			if e.abrupt {
				return
			}
			if n := reports[0].Lost(); n > 0 {
				t.Errorf("lost %d creations: %v", n, reports[0].Causes())
			}
			if n := reports[0].Count(load.Admitted); n < 100 {
				t.Errorf("%d creations, too few to prove anything", n)
			}
			if len(reports) > 1 {
				controlLost += reports[1].Lost()
			}
		})
	}
	if s.control != nil && controlLost == 0 {
		t.Error("the textbook webhook lost nothing either: the test proves nothing")
	}
}

// suffer lets an event happen under load, and returns what the load saw.
func (f *fleet) suffer(t *testing.T, e event) load.Report {
	t.Helper()
	for n := 1; ; n++ {
		f.scale(t, max(e.replicas, replicas))
		f.settle(t)
		running := f.startLoads(t, f.optIn)
		kit.Must(t, kit.Sleep(f.Ctx, 2*time.Second))
		e.happens(f, t)
		f.settle(t) // what drains is under load to its end
		kit.Must(t, kit.Sleep(f.Ctx, time.Second))
		report, stall := running.stop()
		t.Logf("%s: %s %v", f.name, report, report.Causes())
		if e.abrupt || report.Lost() == 0 || !machineStalled(t, n, stall, report.Causes()) {
			return report
		}
	}
}

const (
	// attempts is how often something is tried while the machine stalls.
	attempts = 3
	// stalled is what the creation of a pod that no webhook sees takes when the
	// cluster itself is not able to answer; ordinarily it takes a hundredth of that.
	stalled = time.Second
)

// machineStalled reports whether the n-th attempt has to be repeated: the machine stalled, and calls to the webhook timed out, which
// are all the causes of losses.
func machineStalled(t *testing.T, n int, stall time.Duration, causes map[string]int) bool {
	t.Helper()
	for cause := range causes {
		if !strings.Contains(cause, "context deadline exceeded") {
			return false
		}
	}
	if n >= attempts || stall <= stalled || len(causes) == 0 {
		return false
	}
	t.Logf("repeated: the cluster took %.1f s for a pod that no webhook sees", stall.Seconds())
	return true
}

// addRow adds what an event did to our webhook, and to the control if there is a second report.
func (s *suite) addRow(event string, reports ...load.Report) {
	control := "–"
	if len(reports) > 1 {
		control = cell(reports[1])
	}
	s.addCells(event, cell(reports[0]), control, causes(reports[0]))
}

func (s *suite) addCells(cells ...string) {
	s.rows = append(s.rows, "| "+strings.Join(cells, " | ")+" |")
}

// table is the table of events.
func (s *suite) table() string {
	return "| event, at 50 creations/s | ours refused (outage) | textbook refused (outage) | why, ours |\n|---|---|---|---|\n" + strings.Join(s.rows, "\n")
}

// cell says how many creations were lost, and the longest outage.
func cell(r load.Report) string {
	text := fmt.Sprintf("%d of %d", r.Lost(), len(r.Samples))
	if r.Lost() > 0 {
		text += fmt.Sprintf(" (%.1f s)", r.Outage().Length().Seconds())
	}
	if n := r.Count(load.Unavailable); n > 0 {
		text += fmt.Sprintf(", %d without an answer of the cluster", n)
	}
	return text
}

// addresses of one end or both of a connection, as package net writes them.
var addresses = regexp.MustCompile(` \d+(\.\d+){3}:\d+(->\d+(\.\d+){3}:\d+)?`)

// causes lists why creations were lost, the most frequent cause first. Those that differ in their addresses only are one.
func causes(r load.Report) string {
	sum := map[string]int{}
	for text, n := range r.Causes() {
		sum[addresses.ReplaceAllString(text, "")] += n
	}
	var parts []string
	for _, text := range slices.SortedFunc(maps.Keys(sum), func(a, b string) int { return cmp.Or(sum[b]-sum[a], cmp.Compare(a, b)) }) {
		parts = append(parts, fmt.Sprintf("%d x %s", sum[text], text))
	}
	return cmp.Or(strings.Join(parts, "; "), "–")
}
