// Package load creates opted-in pods through a real kube-apiserver at a steady
// rate and classifies every answer. Each request is a dry run (dryRun=All): it goes
// through the whole admission chain and stores nothing.
//
// The load is open-loop: requests start when their time has come, not when the
// one before has ended, so a stall of the webhook shows up as latency and is not
// hidden by a slower client. It is bounded in rate, in number and in concurrency;
// what the bounds suppress is counted as Skipped.
package load

import (
	"cmp"
	"context"
	"sync"
	"time"
)

// Options describe a load. The zero value of a number means its default.
type Options struct {
	Target
	// Rate is creations per second; default 50.
	Rate float64
	// Concurrency bounds the creations under way; default 500.
	Concurrency int
	// Limit bounds the number of creations; default 200 000.
	Limit int
}

// Run is a load under way.
type Run struct {
	client *Client
	// stop ends the dispatcher; requests under way are completed.
	stop context.CancelFunc
	// done is closed when the last request has been answered.
	done chan struct{}
	// turns holds an element for each creation under way.
	turns chan struct{}

	// mu guards report.
	mu     sync.Mutex
	report Report
}

// Start begins to create pods and returns at once. The load ends with Stop, with
// ctx, or at its limit.
func Start(ctx context.Context, o Options) (*Run, error) {
	client, err := NewClient(o.Target)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &Run{client: client, stop: cancel, done: make(chan struct{}), turns: make(chan struct{}, cmp.Or(o.Concurrency, 500))}
	interval := time.Duration(float64(time.Second) / cmp.Or(o.Rate, 50))
	go r.dispatch(ctx, interval, cmp.Or(o.Limit, 200_000))
	return r, nil
}

// dispatch starts each creation when it is due.
func (r *Run) dispatch(ctx context.Context, interval time.Duration, limit int) {
	defer close(r.done)
	var under sync.WaitGroup
	defer under.Wait()
	due := time.Now()
	for n := range limit {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(due)):
		}
		select {
		case r.turns <- struct{}{}:
			start := due
			under.Go(func() {
				// A request once sent is always seen to its end.
				sample := r.client.Create(context.WithoutCancel(ctx), n, start)
				r.mu.Lock()
				r.report.Samples = append(r.report.Samples, sample)
				r.mu.Unlock()
				<-r.turns
			})
		default:
			r.mu.Lock()
			r.report.Skipped++
			r.mu.Unlock()
		}
		due = due.Add(interval)
	}
}

// Hold returns when no creation is under way and starts none until Release; those
// that are due meanwhile are skipped. It must not be called again before that.
func (r *Run) Hold() {
	for range cap(r.turns) {
		r.turns <- struct{}{}
	}
}

// Release undoes Hold.
func (r *Run) Release() {
	for range cap(r.turns) {
		<-r.turns
	}
}

// Report is what is known so far.
func (r *Run) Report() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.report.sorted()
}

// Stop starts no more creations, waits for those under way (at most 20 s each)
// and returns the report. It may be called again.
func (r *Run) Stop() Report {
	r.stop()
	<-r.done
	r.client.http.CloseIdleConnections()
	return r.Report()
}
