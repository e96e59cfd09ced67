package bench

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/process"
)

// pacedRate is the steady rate at which latencies are compared, per second.
const pacedRate = 500

// series holds one value per round, and the latencies of all rounds.
type series struct {
	cpu, p50, p99 []time.Duration
	rate          []float64 // calls per second
	all           []time.Duration
}

// add adds the latencies of a round.
func (s *series) add(latencies []time.Duration) {
	s.p50 = append(s.p50, load.Percentile(latencies, 50))
	s.p99 = append(s.p99, load.Percentile(latencies, 99))
	s.all = append(s.all, latencies...)
}

// direct is what calls to one server, past kube-apiserver, have shown.
type direct struct {
	name string
	// busy is while all connections are busy, paced at pacedRate.
	busy, paced series
	// idle is from before the first call, most the most during the calls of busy.
	idle, most process.Memory
}

// calls are what the servers are compared with.
type calls struct {
	body        []byte
	connections int
	rounds      int
	turn        time.Duration
	// paced adds turns at pacedRate.
	paced bool
}

// measureDirect compares the servers in turn, several rounds.
func measureDirect(t *testing.T, servers []*server, dial dialer, m calls) []*direct {
	t.Helper()
	var results []*direct
	var callers []*caller
	for _, s := range servers {
		idle, err := process.ReadMemory(s.pid)
		kit.Must(t, err)
		c := newCaller(t, dial, s.address, m.connections, m.body)
		defer c.close()
		_, err = c.flood(time.Second) // warm up
		kit.Must(t, err)
		results, callers = append(results, &direct{name: s.name, idle: idle}), append(callers, c)
	}
	for range m.rounds {
		for i, r := range results {
			stop := process.WatchMemory(servers[i].pid)
			r.busy.measure(t, servers[i].pid, func() ([]time.Duration, error) { return callers[i].flood(m.turn) })
			most, err := stop()
			kit.Must(t, err)
			if most.Unreclaimable() > r.most.Unreclaimable() {
				r.most = most
			}
		}
		for i, r := range results {
			if m.paced {
				r.paced.measure(t, servers[i].pid, func() ([]time.Duration, error) { return callers[i].pace(m.turn, pacedRate) })
			}
		}
	}
	return results
}

// measure adds a round of calls to a process.
func (s *series) measure(t *testing.T, pid int, calls func() ([]time.Duration, error)) {
	t.Helper()
	before, err := process.CPU(pid)
	kit.Must(t, err)
	begin := time.Now()
	l, err := calls()
	took := time.Since(begin)
	kit.Must(t, err)
	after, err := process.CPU(pid)
	kit.Must(t, err)
	s.rate = append(s.rate, float64(len(l))/took.Seconds())
	s.cpu = append(s.cpu, (after-before)/time.Duration(len(l)))
	s.add(l)
}

// enlarged is the review with one more annotation, such as a client leaves its
// last applied configuration in, so that it has size bytes.
func enlarged(t *testing.T, review []byte, size int) []byte {
	t.Helper()
	const anchor, member, unit = `"annotations":{`, `"example.com/last-applied":"",`, `{\"name\":\"value\"},`
	fill := max(0, size-len(review)-len(member))
	text := strings.Repeat(unit, fill/len(unit)) + strings.Repeat("x", fill%len(unit))
	large := bytes.Replace(review, []byte(anchor), []byte(anchor+member[:len(member)-2]+text+`",`), 1)
	if len(large) != size {
		t.Fatalf("enlarge a review of %d bytes to %d: got %d", len(review), size, len(large))
	}
	return large
}

// median of values, which must not be empty.
func median[T time.Duration | float64](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// ratio is the median of a/b, round by round: rounds in which the machine was busy with
// something else hit both.
func ratio(a, b []time.Duration) float64 {
	var r []float64
	for i := range a {
		r = append(r, float64(a[i])/float64(b[i]))
	}
	return median(r)
}

// added is how much longer a creation takes than without a webhook, in the median
// over the rounds.
func added(with, without []time.Duration) time.Duration {
	var more []time.Duration
	for i := range with {
		more = append(more, with[i]-without[i])
	}
	return median(more)
}
