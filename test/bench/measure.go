package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"sts-mutating-webhook/test/process"
)

// pacedRate is the steady rate at which latencies are compared, per second.
const pacedRate = 500

// direct is what calls to one server, past kube-apiserver, have shown. Each slice
// holds one value per round.
type direct struct {
	// While all connections are busy.
	cpu, p50, p99 []time.Duration
	rate          []float64
	// At pacedRate.
	pacedCPU, paced50, paced99 []time.Duration
	// paced are all latencies at pacedRate.
	paced latencies
	// idle is from before the first call, busy the most during the calls.
	idle, busy process.Memory
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
func (b *bench) measureDirect(ctx context.Context, m calls) (map[*server]*direct, error) {
	results, callers := map[*server]*direct{}, map[*server]*caller{}
	for _, s := range b.servers() {
		memory, err := process.ReadMemory(s.pid)
		if err != nil {
			return nil, err
		}
		c, err := newCaller(ctx, dialer(b.cluster.Dialer(node)), s.address(), m.connections, m.body)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		defer c.close()
		results[s], callers[s] = &direct{idle: memory}, c
		if _, err := c.flood(time.Second); err != nil { // warm up
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for range m.rounds {
		for _, s := range b.servers() {
			if err := results[s].flood(ctx, callers[s], s.pid, m.turn); err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
		}
		for _, s := range b.servers() {
			if !m.paced {
				continue
			}
			if err := results[s].pace(callers[s], s.pid, m.turn); err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return results, nil
}

// flood adds one round with all connections busy.
func (r *direct) flood(ctx context.Context, c *caller, pid int, d time.Duration) error {
	watchCtx, stop := context.WithCancel(ctx)
	defer stop()
	var watch errgroup.Group
	watch.Go(func() error { return r.watchMemory(watchCtx, pid) })
	before, err := process.CPU(pid)
	if err != nil {
		return err
	}
	begin := time.Now()
	l, err := c.flood(d)
	if err != nil {
		return err
	}
	took := time.Since(begin)
	after, err := process.CPU(pid)
	if err != nil {
		return err
	}
	stop()
	r.cpu = append(r.cpu, (after-before)/time.Duration(len(l)))
	r.rate = append(r.rate, float64(len(l))/took.Seconds())
	r.p50, r.p99 = append(r.p50, l.percentile(50)), append(r.p99, l.percentile(99))
	return watch.Wait()
}

// pace adds one round at pacedRate.
func (r *direct) pace(c *caller, pid int, d time.Duration) error {
	before, err := process.CPU(pid)
	if err != nil {
		return err
	}
	l, err := c.pace(d, pacedRate)
	if err != nil {
		return err
	}
	after, err := process.CPU(pid)
	if err != nil {
		return err
	}
	r.pacedCPU = append(r.pacedCPU, (after-before)/time.Duration(len(l)))
	r.paced = append(r.paced, l...)
	r.paced50, r.paced99 = append(r.paced50, l.percentile(50)), append(r.paced99, l.percentile(99))
	return nil
}

// watchMemory keeps the most that the process has held.
func (r *direct) watchMemory(ctx context.Context, pid int) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		m, err := process.ReadMemory(pid)
		if err != nil {
			return err
		}
		if m.Unreclaimable() > r.busy.Unreclaimable() {
			r.busy = m
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// largeReview is the review with one more annotation, such as a client leaves its
// last applied configuration in, so that it has size bytes.
func largeReview(review []byte, size int) ([]byte, error) {
	const anchor, member, unit = `"annotations":{`, `"example.com/last-applied":"",`, `{\"name\":\"value\"},`
	fill := size - len(review) - len(member)
	if fill < 0 || !bytes.Contains(review, []byte(anchor)) {
		return nil, fmt.Errorf("enlarge a review of %d bytes to %d: too small, or it has no annotations", len(review), size)
	}
	text := strings.Repeat(unit, fill/len(unit)) + strings.Repeat("x", fill%len(unit))
	return bytes.Replace(review, []byte(anchor), []byte(anchor+member[:len(member)-2]+text+`",`), 1), nil
}

// median of values, which must not be empty.
func median[T time.Duration | float64](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// ratios are a/b, round by round: rounds in which the machine was busy with
// something else hit both.
func ratios(a, b []time.Duration) []float64 {
	var r []float64
	for i := range a {
		r = append(r, float64(a[i])/float64(b[i]))
	}
	return r
}
