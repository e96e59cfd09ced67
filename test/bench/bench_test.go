package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/test/process"
)

func TestPercentile(t *testing.T) {
	l := latencies{5, 1, 4, 2, 3}
	for p, want := range map[float64]time.Duration{0: 1, 50: 3, 99: 5, 100: 5} {
		if got := l.percentile(p); got != want {
			t.Errorf("percentile %v: got %d, want %d", p, got, want)
		}
	}
	if got := (latencies{}).percentile(50); got != 0 {
		t.Errorf("of nothing: got %d, want 0", got)
	}
}

func TestRatiosAreTakenWithinARound(t *testing.T) {
	// In the second round the machine was ten times slower.
	got := median(ratios([]time.Duration{12, 120, 13}, []time.Duration{10, 100, 10}))
	if got != 1.2 {
		t.Errorf("got %v, want 1.2", got)
	}
	if got := added([]time.Duration{7, 90, 8}, []time.Duration{5, 80, 5}); got != 3 {
		t.Errorf("added: got %d, want 3", got)
	}
}

func TestLargeReviewHasItsSize(t *testing.T) {
	review, err := os.ReadFile("../../internal/mutator/testdata/review.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{100 << 10, 3 << 20} {
		if large, err := largeReview(review, size); err != nil || len(large) != size {
			t.Errorf("got %d bytes, %v, want %d", len(large), err, size)
		}
	}
	if _, err := largeReview(review, 10); err == nil {
		t.Error("a size below the review's: want an error")
	}
}

func TestBenchmarkLine(t *testing.T) {
	const output = `goos: linux
BenchmarkDecodeDecideEncode/6851B-2         	  136478	      9628.5 ns/op	 711.59 MB/s	    1040 B/op	      12 allocs/op
`
	got := benchmarkLine.FindStringSubmatch(output)
	if len(got) != 4 || got[1] != "6851" || got[2] != "9628.5" || got[3] != "12" {
		t.Errorf("got %q", got)
	}
}

func TestDistributionsArePrintedInMilliseconds(t *testing.T) {
	var l latencies
	for i := range 1000 {
		l = append(l, time.Duration(1000-i)*time.Millisecond)
	}
	var out strings.Builder
	if err := printDistributions(&out, []distribution{{"ours", l}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# test/bench, ", "way,percentile,ms\nours,0,1.000\n", "ours,50,501.000\n", "ours,99.9,1000.000\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestLogged(t *testing.T) {
	log := []byte("not JSON\n" + `{"time":"2026-05-04T09:21:37.5Z","msg":"ready: yes"}` + "\n")
	if got, err := logged(log, "ready: "); err != nil || !got.Equal(time.Date(2026, 5, 4, 9, 21, 37, 5e8, time.UTC)) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := logged(log, "serving"); err == nil {
		t.Error("a line that is not there: want an error")
	}
}

func TestTargetsSayWhatIsMissed(t *testing.T) {
	b := &bench{floor: &server{name: "floor"}, ours: &server{name: "ours"}, textbook: &server{name: "textbook"}}
	us := func(n int) []time.Duration { return []time.Duration{time.Duration(n) * time.Microsecond} }
	made := func(cpu, p99 int) *direct {
		return &direct{
			cpu: us(cpu), p50: us(1), p99: us(1), rate: []float64{1}, pacedCPU: us(cpu), paced50: us(1), paced99: us(p99),
			idle: process.Memory{Anonymous: 10 << 20, WorkingSet: 31 << 20}, busy: process.Memory{Anonymous: 60 << 20, Kernel: 5 << 20, WorkingSet: 64 << 20},
		}
	}
	r := results{
		review: map[*server]*direct{b.floor: made(100, 100), b.ours: made(116, 151), b.textbook: made(1000, 1000)},
		creations: []creations{
			noWebhook: {p50: us(5000), p99: us(1)}, throughFloor: {p50: us(5900), p99: us(1)}, throughOurs: {p50: us(6000), p99: us(1)},
			throughTextbook: {p50: us(9000), p99: us(1)}, throughPolicy: {p50: us(7000), p99: us(1)}, throughGate: {p50: us(7000), p99: us(1)},
		},
		startup: startup{listening: us(1), ready: us(1)},
		core:    []pureCore{{6851, 19 * time.Microsecond, 12}},
	}
	report := b.markdown(r)
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
