package load

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Options describe a load. The zero value of a number means its default.
type Options struct {
	Target
	// Rate is creations per second, at most 2000; default 50.
	Rate float64
	// Concurrency bounds the creations under way; default 500.
	Concurrency int
	// Limit bounds the number of creations; default 200 000.
	Limit int
	// Progress is called after each creation, from several goroutines; nil is none.
	Progress func(Sample)
}

// Run is a load under way.
type Run struct {
	client *Client
	opts   Options
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
	if o.Rate == 0 {
		o.Rate = 50
	}
	if o.Concurrency == 0 {
		o.Concurrency = 500
	}
	if o.Limit == 0 {
		o.Limit = 200_000
	}
	if o.Rate < 0 || o.Rate > 2000 || o.Concurrency < 0 || o.Limit < 0 {
		return nil, fmt.Errorf("check load: rate %v must be up to 2000, concurrency %d and limit %d positive", o.Rate, o.Concurrency, o.Limit)
	}
	client, err := NewClient(o.Target)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &Run{client: client, opts: o, stop: cancel, done: make(chan struct{}), turns: make(chan struct{}, o.Concurrency)}
	go r.dispatch(ctx)
	return r, nil
}

// dispatch starts each creation when it is due.
func (r *Run) dispatch(ctx context.Context) {
	defer close(r.done)
	var under sync.WaitGroup
	defer under.Wait()
	interval := time.Duration(float64(time.Second) / r.opts.Rate)
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := time.Now()
	for n := range r.opts.Limit {
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		select {
		case r.turns <- struct{}{}:
			start := due
			under.Go(func() {
				// A request once sent is always seen to its end.
				r.record(r.client.Create(context.WithoutCancel(ctx), n, start))
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

func (r *Run) record(s Sample) {
	r.mu.Lock()
	r.report.Samples = append(r.report.Samples, s)
	r.mu.Unlock()
	if r.opts.Progress != nil {
		r.opts.Progress(s)
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
