package bench

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/process"
)

// Targets. Nothing fails when one is missed: the table says so.
const (
	maxBusyCPURatio  = 1.15
	maxPacedCPURatio = 1.0
	maxP99Ratio      = 1.5
	maxAddedRatio    = 1.1
	maxAdded         = 1500 * time.Microsecond
	maxIdle          = 30 << 20
	maxBusy          = 64 << 20
	maxCore          = 20 * time.Microsecond
	maxCoreAlloc     = 12
)

// results is everything that one run has measured.
type results struct {
	conditions string
	// review holds the results of each server.
	review []*direct
	// large holds the results for larger bodies, by their size.
	large     []sized
	creations []creations
	startup   startup
	core      []pureCore
	// Bytes.
	binary, image int64
}

type sized struct {
	name   string
	direct []*direct
}

// markdown is the whole report.
func (r results) markdown() string {
	var out strings.Builder
	out.WriteString(r.conditions + "\n\n")
	out.WriteString("| body, all connections busy | server | CPU per call | x floor | calls/s | p50 | p99 | memory before | most |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, part := range append([]sized{{"6.9 KB", r.review}}, r.large...) {
		for _, d := range part.direct {
			busy, least := d.busy, part.direct[floor].busy
			fmt.Fprintf(&out, "| %s | %s | %s | %.2f | %.0f | %s | %s | %s | %s |\n", part.name, d.name, micro(median(busy.cpu)), ratio(busy.cpu, least.cpu),
				median(busy.rate), micro(median(busy.p50)), micro(median(busy.p99)), memory(d.idle), memory(d.most))
		}
	}
	fmt.Fprintf(&out, "\n| 6.9 KB at %d calls/s | CPU per call | x floor | p50 | p99 | x floor |\n|---|---|---|---|---|---|\n", pacedRate)
	least := r.review[floor].paced
	for _, d := range r.review {
		fmt.Fprintf(&out, "| %s | %s | %.2f | %s | %s | %.2f |\n", d.name, micro(median(d.paced.cpu)), ratio(d.paced.cpu, least.cpu),
			micro(median(d.paced.p50)), micro(median(d.paced.p99)), ratio(d.paced.p99, least.p99))
	}
	fmt.Fprintf(&out, "\n| pod creation through kube-apiserver, %d/s | p50 | p99 | added at p50 | failed |\n|---|---|---|---|---|\n", creationRate)
	for i, c := range r.creations {
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %d |\n", ways[i].name, milli(median(c.p50)), milli(median(c.p99)), milli(r.added(i)), c.failed)
	}
	out.WriteString("\n| decode + decide + encode (Go benchmark), bytes of body | time | allocations |\n|---|---|---|\n")
	for _, c := range r.core {
		fmt.Fprintf(&out, "| %d | %s | %d |\n", c.body, micro(c.time), c.allocations)
	}
	r.targets(&out)
	fmt.Fprintf(&out, "\nProcess start to listening: %s, to ready: %s (medians of %d replicas of rolling restarts). Binary: %s; image, uncompressed: %s.",
		milli(median(r.startup.listening)), milli(median(r.startup.ready)), len(r.startup.ready), mib(r.binary), mib(r.image))
	return out.String()
}

// added is how much a way adds to a pod creation at p50.
func (r results) added(way int) time.Duration {
	return added(r.creations[way].p50, r.creations[noWebhook].p50)
}

// targets compares each promise with what was measured.
func (r results) targets(out *strings.Builder) {
	out.WriteString("\n| promise | measured | target | |\n|---|---|---|---|\n")
	row := func(what, measured, target string, met bool) {
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", what, measured, target, map[bool]string{true: "met", false: "**missed**"}[met])
	}
	atMost := func(what string, measured, target float64, digits string) {
		row(what, fmt.Sprintf("%.2f", measured), fmt.Sprintf("<= "+digits, target), measured <= target)
	}
	mine, least := r.review[ours], r.review[floor]
	atMost("CPU per call, x floor, all connections busy", ratio(mine.busy.cpu, least.busy.cpu), maxBusyCPURatio, "%.2f")
	atMost(fmt.Sprintf("the same at %d/s", pacedRate), ratio(mine.paced.cpu, least.paced.cpu), maxPacedCPURatio, "%.2f")
	atMost(fmt.Sprintf("p99 at %d/s, x floor", pacedRate), ratio(mine.paced.p99, least.paced.p99), maxP99Ratio, "%.1f")
	core := r.core[0]
	row("decode + decide + encode", fmt.Sprintf("%s, %d allocations", micro(core.time), core.allocations),
		fmt.Sprintf("< %s, <= %d", micro(maxCore), maxCoreAlloc), core.time < maxCore && core.allocations <= maxCoreAlloc)
	more, policy := r.added(throughOurs), r.added(throughPolicy)
	row("added to a pod creation at p50", milli(more), "<= "+milli(maxAdded), more <= maxAdded)
	atMost("the same, x what the floor adds", float64(more)/float64(r.added(throughFloor)), maxAddedRatio, "%.1f")
	row("the same, beside the policy", milli(more), "< "+milli(policy), more < policy)
	for _, m := range []struct {
		what             string
		measured, target int64
	}{
		{"memory that cannot be reclaimed, idle", mine.idle.Unreclaimable(), maxIdle},
		{"the same, under load", mine.most.Unreclaimable(), maxBusy},
		{"working set, idle", mine.idle.WorkingSet, maxIdle},
		{"the same, under load", mine.most.WorkingSet, maxBusy},
	} {
		row(m.what, mib(m.measured), fmt.Sprintf("<= %d MiB", m.target>>20), m.measured <= m.target)
	}
}

func micro(d time.Duration) string {
	if d >= 10*time.Millisecond {
		return milli(d)
	}
	if d < 100*time.Microsecond {
		return fmt.Sprintf("%.1f us", float64(d)/1e3)
	}
	return fmt.Sprintf("%.0f us", float64(d)/1e3)
}
func milli(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }
func mib(n int64) string           { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func memory(m process.Memory) string {
	return fmt.Sprintf("%.1f + %.1f, %s", float64(m.Anonymous)/(1<<20), float64(m.Kernel)/(1<<20), mib(m.WorkingSet))
}

func TestRatiosAreTakenWithinARound(t *testing.T) {
	// In the second round the machine was ten times slower.
	if got := ratio([]time.Duration{12, 120, 13}, []time.Duration{10, 100, 10}); got != 1.2 {
		t.Errorf("got %v, want 1.2", got)
	}
	if got := added([]time.Duration{7, 90, 8}, []time.Duration{5, 80, 5}); got != 3 {
		t.Errorf("added: got %d, want 3", got)
	}
}

func TestTargetsSayWhatIsMissed(t *testing.T) {
	one := func(p50, p99, cpu int) series {
		us := func(n int) []time.Duration { return []time.Duration{time.Duration(n) * time.Microsecond} }
		return series{p50: us(p50), p99: us(p99), cpu: us(cpu), rate: []float64{1}}
	}
	made := func(cpu, p99 int) *direct {
		return &direct{
			busy: one(1, 1, cpu), paced: one(1, p99, cpu), idle: process.Memory{Anonymous: 10 << 20, WorkingSet: 31 << 20},
			most: process.Memory{Anonymous: 60 << 20, Kernel: 5 << 20, WorkingSet: 64 << 20},
		}
	}
	r := results{
		review:  []*direct{floor: made(100, 100), ours: made(116, 151), textbook: made(1000, 1000)},
		startup: startup{listening: []time.Duration{1}, ready: []time.Duration{1}},
		core:    []pureCore{{6851, 19 * time.Microsecond, 12}},
	}
	p50s := []int{noWebhook: 5000, throughFloor: 5900, throughOurs: 6000, throughTextbook: 9000, throughPolicy: 7000, throughGate: 7000}
	for _, p50 := range p50s {
		r.creations = append(r.creations, creations{series: one(p50, 1, 1)})
	}
	report := r.markdown()
	for _, want := range []string{
		"| CPU per call, x floor, all connections busy | 1.16 | <= 1.15 | **missed** |",
		"| p99 at 500/s, x floor | 1.51 | <= 1.5 | **missed** |",
		"| decode + decide + encode | 19.0 us, 12 allocations | < 20.0 us, <= 12 | met |",
		"| added to a pod creation at p50 | 1.00 ms | <= 1.50 ms | met |",
		"| the same, x what the floor adds | 1.11 | <= 1.1 | **missed** |",
		"| the same, beside the policy | 1.00 ms | < 2.00 ms | met |",
		"| memory that cannot be reclaimed, idle | 10.0 MiB | <= 30 MiB | met |",
		"| the same, under load | 65.0 MiB | <= 64 MiB | **missed** |",
		"| working set, idle | 31.0 MiB | <= 30 MiB | **missed** |",
		"| the same, under load | 64.0 MiB | <= 64 MiB | met |",
	} {
		if !strings.Contains(report, want) {
			t.Errorf("no line %q in\n%s", want, report)
		}
	}
}

// writeLatencies writes the distributions of calls and of pod creations, which test/plots draws.
func writeLatencies(t *testing.T, dir string, r results) {
	t.Helper()
	calls, creations := [][]string{}, [][]string{}
	for _, d := range r.review {
		calls = append(calls, percentiles(d.name, d.paced.all)...)
	}
	for i, w := range ways {
		creations = append(creations, percentiles(w.name, r.creations[i].all)...)
	}
	for name, lines := range map[string][][]string{"latency-calls.csv": calls, "latency-creations.csv": creations} {
		var text strings.Builder
		fmt.Fprintf(&text, "# test/bench, %s, one-minute load at the end %s\nway,percentile,ms\n", machine(), loadAverage())
		kit.Must(t, csv.NewWriter(&text).WriteAll(lines))
		kit.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(text.String()), 0o644))
	}
}

// percentiles are lines of such a file: as many as a plot needs, every second percentile and more towards the end.
func percentiles(name string, l []time.Duration) (lines [][]string) {
	var wanted []float64
	for p := 0; p < 98; p += 2 {
		wanted = append(wanted, float64(p))
	}
	for _, p := range append(wanted, 98, 98.5, 99, 99.5, 99.9) {
		lines = append(lines, []string{name, strconv.FormatFloat(p, 'f', -1, 64), fmt.Sprintf("%.3f", load.Percentile(l, p).Seconds()*1e3)})
	}
	return lines
}
