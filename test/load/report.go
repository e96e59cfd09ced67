package load

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Report holds the creations of a load in the order of their start.
type Report struct {
	Samples []Sample
	// Skipped counts creations that were due while Concurrency others were under way.
	Skipped int
}

// Join is the report of several loads together.
func Join(reports ...Report) Report {
	var all Report
	for _, r := range reports {
		all.Samples = append(all.Samples, r.Samples...)
		all.Skipped += r.Skipped
	}
	return all.sorted()
}

func (r Report) sorted() Report {
	samples := slices.Clone(r.Samples)
	slices.SortFunc(samples, func(a, b Sample) int { return a.Start.Compare(b.Start) })
	return Report{Samples: samples, Skipped: r.Skipped}
}

// Since is the report of the creations that were due at or after t.
func (r Report) Since(t time.Time) Report {
	i, _ := slices.BinarySearchFunc(r.Samples, t, func(s Sample, t time.Time) int { return s.Start.Compare(t) })
	return Report{Samples: r.Samples[i:], Skipped: r.Skipped}
}

// Until is the report of the creations that were due before t.
func (r Report) Until(t time.Time) Report {
	return Report{Samples: r.Samples[:len(r.Samples)-len(r.Since(t).Samples)], Skipped: r.Skipped}
}

// Count is the number of creations with one of the outcomes.
func (r Report) Count(wanted ...Outcome) int {
	n := 0
	for _, s := range r.Samples {
		if slices.Contains(wanted, s.Outcome) {
			n++
		}
	}
	return n
}

// Lost is the number of creations that failed or went wrong because of the webhook.
func (r Report) Lost() int { return r.Count(Refused, Denied, Unmutated, WrongSelector) }

// outageGap joins losses into one outage: a pool of replicas of which some are
// broken loses some requests and answers others.
const outageGap = time.Second

// Outage is a stretch of time in which creations were lost.
type Outage struct {
	// From is the start of the first lost creation, To the end of the last.
	From, To time.Time
	Lost     int
}

// Length is zero for an Outage without losses.
func (o Outage) Length() time.Duration { return o.To.Sub(o.From) }

// Outage is the longest stretch of losses with no gap of a second between two of
// them. Only creations with one of the outcomes count; none given means all losses.
func (r Report) Outage(of ...Outcome) Outage {
	var longest, current Outage
	for _, s := range r.Samples {
		if !counts(s.Outcome, of) {
			continue
		}
		if current.Lost == 0 || s.Start.Sub(current.To) > outageGap {
			current = Outage{From: s.Start}
		}
		current.Lost++
		if s.End().After(current.To) {
			current.To = s.End()
		}
		if current.Length() >= longest.Length() {
			longest = current
		}
	}
	return longest
}

// LastLost is the end of the last lost creation; zero when none was lost. The
// outcomes are as for Outage.
func (r Report) LastLost(of ...Outcome) time.Time {
	var last time.Time
	for _, s := range r.Samples {
		if counts(s.Outcome, of) && s.End().After(last) {
			last = s.End()
		}
	}
	return last
}

func counts(o Outcome, of []Outcome) bool {
	if len(of) == 0 {
		return o.Lost()
	}
	return slices.Contains(of, o)
}

// Latency is the p-th percentile over admitted creations.
func (r Report) Latency(p float64) time.Duration {
	var all []time.Duration
	for _, s := range r.Samples {
		if s.Outcome == Admitted {
			all = append(all, s.Latency)
		}
	}
	return Percentile(all, p)
}

// Percentile is the p-th one, 0 to 100, of times in any order; zero when there are none.
func Percentile(times []time.Duration, p float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(len(sorted)-1, int(p/100*float64(len(sorted))))]
}

// Longest is the longest time that the cluster took for an answer.
func (r Report) Longest() (longest time.Duration) {
	for _, s := range r.Samples {
		if s.Outcome != Unavailable {
			longest = max(longest, s.Latency)
		}
	}
	return longest
}

// Second is what became of the creations that were due in one second.
type Second struct {
	// Second counts from the zero time; those before it are negative.
	Second           int
	Created, Refused int
}

// Seconds are the creations second by second, without seconds in which none was due. Creations that the cluster itself
// did not answer are left out.
func (r Report) Seconds(zero time.Time) []Second {
	var all []Second
	for _, s := range r.Samples {
		n := int(math.Floor(s.Start.Sub(zero).Seconds()))
		if s.Outcome == Unavailable {
			continue
		}
		if len(all) == 0 || all[len(all)-1].Second != n {
			all = append(all, Second{Second: n})
		}
		if s.Outcome.Lost() {
			all[len(all)-1].Refused++
		} else {
			all[len(all)-1].Created++
		}
	}
	return all
}

// Causes counts the creations that were not admitted by outcome and cause.
func (r Report) Causes() map[string]int {
	causes := map[string]int{}
	for _, s := range r.Samples {
		if s.Outcome != Admitted {
			causes[s.Outcome.String()+": "+s.Cause]++
		}
	}
	return causes
}

// String is one line: how many creations had which outcome, and how long they took.
func (r Report) String() string {
	var parts []string
	for o := range outcomes {
		if n := r.Count(o); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	if r.Skipped > 0 {
		parts = append(parts, fmt.Sprintf("%d skipped", r.Skipped))
	}
	return fmt.Sprintf("%s; p50 %s, p99 %s", strings.Join(parts, ", "),
		r.Latency(50).Round(100*time.Microsecond), r.Latency(99).Round(100*time.Microsecond))
}
