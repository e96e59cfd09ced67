package alert

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// robot is one DingTalk robot: its files, what waits to be reported to it, and the
// goroutine, owned by Notifier.Start, that does so.
type robot struct {
	o       *Options
	name    string // of its directory; defaultRobot for that of --dingtalk-url-file
	files   files
	render  *renderer
	send    func(ctx context.Context, c credentials, body []byte, now time.Time) error
	metrics *metrics

	// only holds the namespaces whose events the robot receives, nil for all of them and the
	// webhook itself. It is replaced as a whole when the file changes.
	only atomic.Pointer[map[string]bool]

	mu      sync.Mutex // guards queue and stopped; held for a few map accesses, or to copy a dozen lines
	queue   *queue
	stopped bool          // run returned: nothing will be sent any more
	wake    chan struct{} // holds one token when a line came that is due before the sender looks again; never closed

	pausedUntil atomic.Int64 // Unix nanoseconds; 0 while not paused

	// The fields below belong to run's goroutine.
	pace        *pace
	failures    int           // calls in a row that failed for passing trouble
	throttled   bool          // the pause is the robot's
	clockOffset time.Duration // of DingTalk's clock from ours, once it reported
	seen        settings      // of the files, as it was logged
	lookedAt    time.Time
	looked      bool
	lastCause   string // of trouble, as it was logged; empty while all is well
}

func newRobot(o *Options, name string, f files, render *renderer, m *metrics) *robot {
	client := newClient(o.dial)
	r := &robot{
		o: o, name: name, files: f, render: render, metrics: m,
		queue: newQueue(limits{lines: o.MaxLines, ordinals: o.MaxOrdinals, window: o.Window, repeatAfter: o.RepeatAfter}),
		wake:  make(chan struct{}, 1),
		send: func(ctx context.Context, c credentials, body []byte, now time.Time) error {
			return post(ctx, client, c, body, now)
		},
	}
	_, _ = r.readNamespaces() // what is wrong with it is logged by look
	return r
}

// receives reports whether the event is one for this robot.
func (r *robot) receives(e Event) bool {
	only := r.only.Load()
	return only == nil || *only == nil || e.Namespace != "" && (*only)[e.Namespace]
}

// notify takes note of an event. placed reports whether placements are reported; they
// end the trouble of a StatefulSet in any case.
func (r *robot) notify(e Event, placed bool, now time.Time) {
	r.mu.Lock()
	became := refused
	switch {
	case r.stopped:
	case !r.receives(e): // any more
		became = queued
	case e.Kind == Placed && !placed:
		became = queued
		r.queue.noteRecovery(e, now)
	default:
		became = r.queue.add(e, now)
	}
	early := r.queue.early
	r.queue.early = false
	r.mu.Unlock()
	switch became {
	case refused:
		r.metrics.dropped.Inc()
	case repeated:
		r.metrics.suppressed.Inc()
	}
	if early {
		select {
		case r.wake <- struct{}{}:
		default: // a token is there already
		}
	}
}

// run sends until ctx ends, then what is left once, as far as the pace allows. It
// returns within finalBudget after that.
func (r *robot) run(ctx context.Context) {
	calls, cancel := outlive(ctx, finalBudget)
	defer cancel()
	r.pace = newPace(r.o.AlertRate, r.o.Clock.Now())
	for {
		r.guarded(r.look)
		wait := r.untilNext()
		if wait <= 0 {
			r.guarded(func() { r.sendNext(calls, false) })
			wait = 0
		}
		if !r.sleep(ctx, wait) {
			break
		}
	}
	r.guarded(func() { r.finish(calls) })
}

// untilNext returns how long to wait before the next message can be sent, at most
// until the files are looked at again.
func (r *robot) untilNext() time.Duration {
	now := r.o.Clock.Now()
	next := now.Add(lookEvery)
	if _, at, waits := r.nextCategory(now); waits && at.Before(next) {
		next = at
	}
	r.mu.Lock()
	r.queue.wakeBefore = next
	r.mu.Unlock()
	return next.Sub(now)
}

// turn returns which category is reported next and when: the first one that may be reported
// now, else the one that may be soonest. It reports false if nothing waits. Placements
// come last, unless refusals have kept them waiting for a whole window.
func (r *robot) nextCategory(now time.Time) (category, time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	order := [...]category{own, denials, placements}
	if due, waits := r.queue.next(placements); waits && now.Sub(due) > rateWindow {
		order = [...]category{own, placements, denials}
	}
	best, at, found := own, time.Time{}, false
	for _, c := range order {
		due, waits := r.queue.next(c)
		if !waits {
			continue
		}
		for _, not := range []time.Time{r.pace.free(c != own), r.pauseEnd()} {
			if due.Before(not) {
				due = not
			}
		}
		if !due.After(now) {
			return c, due, true
		}
		if !found || due.Before(at) {
			best, at, found = c, due, true
		}
	}
	return best, at, found
}

// guarded runs f and survives its panic: a fault in the alerts must not end a
// process that admits pods. What waits is given up, since it may be the cause.
func (r *robot) guarded(f func()) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		r.metrics.failed.WithLabelValues(reasonBug).Inc()
		r.metrics.dropped.Add(float64(r.waiting(own) + r.waiting(denials) + r.waiting(placements)))
		r.mu.Lock()
		r.queue = newQueue(r.queue.limits)
		r.mu.Unlock()
		r.o.Log.Error(fmt.Errorf("send alerts: panic: %v", p), "alert fault survived", "stack", string(debug.Stack()))
	}()
	f()
}

// pause keeps the sender silent for d; events go on merging. 0 ends a pause.
func (r *robot) pause(d time.Duration) {
	if d == 0 {
		r.pausedUntil.Store(0)
		return
	}
	r.pausedUntil.Store(r.o.Clock.Now().Add(d).UnixNano())
}

// pauseEnd returns the end of the pause, long ago without one.
func (r *robot) pauseEnd() time.Time { return time.Unix(0, r.pausedUntil.Load()) }

// sleep waits for d or until a line is due before; it reports false when ctx ended.
func (r *robot) sleep(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	timer := r.o.Clock.NewTimer(max(0, d))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-r.wake:
		return true
	case <-timer.C():
		return true
	}
}
