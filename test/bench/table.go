package main

import (
	"fmt"
	"strings"
	"time"

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
	review     map[*server]*direct
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
	direct map[*server]*direct
}

// markdown is the whole report.
func (b *bench) markdown(r results) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n\n", r.conditions)
	b.directTable(&out, r)
	creationTable(&out, r.creations)
	coreTable(&out, r.core)
	b.targets(&out, r)
	return strings.TrimSpace(out.String())
}

func (b *bench) directTable(out *strings.Builder, r results) {
	out.WriteString("| body, all connections busy | server | CPU per call | x floor | calls/s | p50 | p99 | memory before | most |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, part := range append([]sized{{"6.9 KB", r.review}}, r.large...) {
		floor := part.direct[b.floor]
		for _, s := range b.servers() {
			d := part.direct[s]
			fmt.Fprintf(out, "| %s | %s | %s | %.2f | %.0f | %s | %s | %s | %s |\n", part.name, s.name, micro(median(d.cpu)),
				median(ratios(d.cpu, floor.cpu)), median(d.rate), micro(median(d.p50)), micro(median(d.p99)), memory(d.idle), memory(d.busy))
		}
	}
	fmt.Fprintf(out, "\n| 6.9 KB at %d calls/s | CPU per call | x floor | p50 | p99 | x floor |\n|---|---|---|---|---|---|\n", pacedRate)
	floor := r.review[b.floor]
	for _, s := range b.servers() {
		d := r.review[s]
		fmt.Fprintf(out, "| %s | %s | %.2f | %s | %s | %.2f |\n", s.name, micro(median(d.pacedCPU)), median(ratios(d.pacedCPU, floor.pacedCPU)),
			micro(median(d.paced50)), micro(median(d.paced99)), median(ratios(d.paced99, floor.paced99)))
	}
	out.WriteString("\n")
}

func creationTable(out *strings.Builder, c []creations) {
	fmt.Fprintf(out, "| pod creation through kube-apiserver, %d/s | p50 | p99 | added at p50 | failed |\n|---|---|---|---|---|\n", creationRate)
	for i, w := range ways {
		fmt.Fprintf(out, "| %s | %s | %s | %s | %d |\n", w.name, milli(median(c[i].p50)), milli(median(c[i].p99)), milli(added(c[i].p50, c[noWebhook].p50)), c[i].failed)
	}
	out.WriteString("\n")
}

func coreTable(out *strings.Builder, core []pureCore) {
	out.WriteString("| decode + decide + encode (Go benchmark), bytes of body | time | allocations |\n|---|---|---|\n")
	for _, c := range core {
		fmt.Fprintf(out, "| %d | %s | %d |\n", c.body, micro(c.time), c.allocations)
	}
	out.WriteString("\n")
}

// targets holds each promise against what was measured.
func (b *bench) targets(out *strings.Builder, r results) {
	out.WriteString("| promise | measured | target | |\n|---|---|---|---|\n")
	row := func(what, measured, target string, met bool) {
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", what, measured, target, metOrMissed(met))
	}
	ours, floor := r.review[b.ours], r.review[b.floor]
	cpu := median(ratios(ours.cpu, floor.cpu))
	row("CPU per call, x floor, all connections busy", fmt.Sprintf("%.2f", cpu), fmt.Sprintf("<= %.2f", maxBusyCPURatio), cpu <= maxBusyCPURatio)
	paced := median(ratios(ours.pacedCPU, floor.pacedCPU))
	row(fmt.Sprintf("the same at %d/s", pacedRate), fmt.Sprintf("%.2f", paced), fmt.Sprintf("<= %.2f", maxPacedCPURatio), paced <= maxPacedCPURatio)
	p99 := median(ratios(ours.paced99, floor.paced99))
	row(fmt.Sprintf("p99 at %d/s, x floor", pacedRate), fmt.Sprintf("%.2f", p99), fmt.Sprintf("<= %.1f", maxP99Ratio), p99 <= maxP99Ratio)
	core := r.core[0]
	row("decode + decide + encode", fmt.Sprintf("%s, %d allocations", micro(core.time), core.allocations), fmt.Sprintf("< %s, <= %d", micro(maxCore), maxCoreAlloc), core.time < maxCore && core.allocations <= maxCoreAlloc)
	without := r.creations[noWebhook].p50
	more, least, policy := added(r.creations[throughOurs].p50, without), added(r.creations[throughFloor].p50, without), added(r.creations[throughPolicy].p50, without)
	row("added to a pod creation at p50", milli(more), "<= "+milli(maxAdded), more <= maxAdded)
	ratio := float64(more) / float64(least)
	row("the same, x what the floor adds", fmt.Sprintf("%.2f", ratio), fmt.Sprintf("<= %.1f", maxAddedRatio), ratio <= maxAddedRatio)
	row("the same, beside the policy", milli(more), "< "+milli(policy), more < policy)
	row("memory that cannot be reclaimed, idle", mib(ours.idle.Unreclaimable()), fmt.Sprintf("<= %d MiB", maxIdle>>20), ours.idle.Unreclaimable() <= maxIdle)
	row("the same, under load", mib(ours.busy.Unreclaimable()), fmt.Sprintf("<= %d MiB", maxBusy>>20), ours.busy.Unreclaimable() <= maxBusy)
	row("working set, idle", mib(ours.idle.WorkingSet), fmt.Sprintf("<= %d MiB", maxIdle>>20), ours.idle.WorkingSet <= maxIdle)
	row("the same, under load", mib(ours.busy.WorkingSet), fmt.Sprintf("<= %d MiB", maxBusy>>20), ours.busy.WorkingSet <= maxBusy)
	fmt.Fprintf(out, "\nProcess start to listening: %s, to ready: %s (medians of %d replicas of rolling restarts). Binary: %s; image, uncompressed: %s.\n",
		milli(median(r.startup.listening)), milli(median(r.startup.ready)), len(r.startup.ready), mib(r.binary), mib(r.image))
}

func metOrMissed(met bool) string {
	if met {
		return "met"
	}
	return "**missed**"
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
