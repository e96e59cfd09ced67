// Package alert tells a DingTalk group what the webhook does and what goes wrong.
//
// Events go in by Notify, which costs one map access under a mutex, returns
// nothing and never waits. One goroutine, owned by Start, gathers what came for
// a window, merges it into lines, renders a digest and sends it. Nothing that
// happens there reaches the caller: a robot that hangs, refuses or punishes
// costs alerts, never an admission.
//
// What an operator can rely on:
//
//   - A placed ordinal is told at least once, or it is counted: in the message
//     (dropped, left out) and in sts_webhook_alert_dropped_total. A message that
//     fails for a reason that may pass, or that a person can mend, goes back to
//     the queue. Only a message that DingTalk will never accept is given up.
//   - What was told is not told again for RepeatAfter, only counted.
//   - All replicas together stay within the robot's 20 messages a minute. If the
//     robot is punished all the same, because others use it too, the notifier is
//     silent for 10 minutes and goes on merging.
//   - Memory is bounded by MaxLines and MaxOrdinals.
//   - Credentials are files that are read at each call; no restart is needed. They
//     appear in no log, error, metric or message.
//
// Dry runs are the caller's to leave out.
package alert

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Notifier merges events and sends them as digests.
type Notifier struct {
	o       Options
	on      map[Kind]bool // read only
	render  *renderer
	client  *http.Client
	metrics *metrics
	started atomic.Bool

	mu      sync.Mutex    // guards inbox and stopped; held for a few map accesses only
	inbox   *ledger       // what came since it was collected last
	stopped bool          // Start returned: nothing will be sent any more
	wake    chan struct{} // holds one token when inbox has become non-empty; never closed
	waiting atomic.Int64  // lines in pending, for the metric

	// The fields below belong to Start's goroutine.
	pending     *ledger // collected, not told yet
	told        *history
	limiter     *rate.Limiter
	pausedUntil time.Time
	punished    bool   // the pause is the robot's penalty
	lastCause   string // what was logged last; empty while all is well
}

// New checks the options and registers the metrics. Nothing runs before Start.
func New(o Options) (*Notifier, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("validate alert options: %w", err)
	}
	o = o.withDefaults()
	render, err := newRenderer(o)
	if err != nil {
		return nil, err
	}
	n := &Notifier{
		o:      o,
		on:     map[Kind]bool{},
		render: render,
		client: newClient(o.dial),
		inbox:  newLedger(o.MaxLines, o.MaxOrdinals),
		wake:   make(chan struct{}, 1),
		told:   newHistory(o.RepeatAfter, o.MaxLines, o.MaxOrdinals),
	}
	for _, kind := range o.AlertOn {
		n.on[kind] = true
	}
	n.forgetAll()
	n.metrics = newMetrics(n.queueLength)
	if err := n.metrics.register(o.Registerer); err != nil {
		return nil, fmt.Errorf("register alert metrics: %w", err)
	}
	return n, nil
}

// Notify takes note of an event. It never blocks, whatever the robot does, and
// may be called from any goroutine at any time, also before Start and after it.
func (n *Notifier) Notify(e Event) {
	if !n.on[e.Kind] {
		return
	}
	now := n.o.Clock.Now()
	n.mu.Lock()
	taken := !n.stopped && n.inbox.add(e, now)
	n.mu.Unlock()
	if !taken {
		n.metrics.dropped.Inc()
		return
	}
	select {
	case n.wake <- struct{}{}:
	default: // a token is there already
	}
}

// Start sends digests until ctx ends, then one last digest, and returns nil
// within 3 s. Trouble with the robot never ends it. It fails only if it was
// started before.
func (n *Notifier) Start(ctx context.Context) error {
	if n.started.Swap(true) {
		return errors.New("start notifier: it was started before")
	}
	calls, cancel := outlive(ctx, finalBudget)
	defer cancel()
	n.limiter = rate.NewLimiter(pace(1))
	n.limiter.AllowN(n.o.Clock.Now(), n.limiter.Burst()) // a restart must not be a way around the limit
	n.guarded(n.tune)
	n.announce()
	for n.awaitEvent(ctx) && n.sleep(ctx, n.o.Window) {
		n.guarded(func() { n.drain(ctx, calls) })
	}
	n.guarded(func() { n.drainLast(calls) })
	return nil
}

// drain sends digests until nothing of what was gathered is left, or ctx ends.
func (n *Notifier) drain(ctx, calls context.Context) {
	for n.collect(); len(n.pending.lines) > 0 && n.awaitTurn(ctx); {
		n.deliver(ctx, calls)
	}
}

// drainLast makes one attempt to tell what is left. While the robot punishes us
// it keeps silent: one more message would not be shown.
func (n *Notifier) drainLast(calls context.Context) {
	n.mu.Lock()
	n.stopped = true
	n.mu.Unlock()
	n.collect()
	if len(n.pending.lines) == 0 {
		return
	}
	cause := "the robot is silent after too many messages"
	if !n.punished {
		cause = "one message holds no more"
		err := n.attempt(calls, maxBodyBytes, true)
		if errors.Is(err, errOff) {
			n.forgetAll()
			return
		}
		if err != nil {
			cause = err.Error()
		}
	}
	if left := n.pending.events(); left > 0 {
		n.metrics.dropped.Add(float64(left))
		n.o.Log.Info("alerts left unsent at the end", "events", left, "cause", cause)
	}
	n.forgetAll()
}

// collect moves the inbox to pending, without what was told a short while ago.
func (n *Notifier) collect() {
	empty := newLedger(n.o.MaxLines, n.o.MaxOrdinals)
	n.mu.Lock()
	fresh := n.inbox
	n.inbox = empty
	n.mu.Unlock()
	now := n.o.Clock.Now()
	n.told.forget(now)
	n.metrics.suppressed.Add(float64(n.told.hold(fresh, now)))
	n.metrics.dropped.Add(float64(n.pending.merge(fresh)))
	n.waiting.Store(int64(len(n.pending.lines)))
}

// settle takes what a message told out of the queue; accepted says that it was
// told, otherwise it was given up.
func (n *Notifier) settle(d digest, accepted bool) {
	now := n.o.Clock.Now()
	for _, c := range d.choices {
		n.pending.remove(c.key, c.ordinals)
		if accepted {
			n.told.record(c.key, c.ordinals, now)
		}
	}
	if accepted {
		n.pending.dropped -= d.dropped
		n.metrics.sent.Inc()
		n.metrics.lastSuccess.Set(unix(now))
	} else {
		given := countEvents(d.choices)
		n.pending.dropped += given
		n.metrics.dropped.Add(float64(given))
	}
	n.waiting.Store(int64(len(n.pending.lines)))
}

// guarded runs f and survives its panic: a fault in the alerts must not end a
// process that admits pods. What was pending is given up, since it may be the cause.
func (n *Notifier) guarded(f func()) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		n.metrics.failed.WithLabelValues(reasonBug).Inc()
		n.metrics.dropped.Add(float64(n.pending.events()))
		n.forgetAll()
		n.o.Log.Error(fmt.Errorf("send alerts: panic: %v", p), "alert fault survived", "stack", string(debug.Stack()))
	}()
	f()
}

// queueLength is the metric's value.
func (n *Notifier) queueLength() float64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return float64(len(n.inbox.lines)) + float64(n.waiting.Load())
}

// announce says once, at the start, whether there is a robot.
func (n *Notifier) announce() {
	c, err := readCredentials(n.o.URLFile, n.o.SecretFile, n.o.AllowHTTP)
	switch {
	case errors.Is(err, errOff):
		n.report(errOff)
	case err == nil:
		n.o.Log.Info("alerts are on", "host", c.host, "kinds", slices.Sorted(slices.Values(n.o.AlertOn)))
	}
}
