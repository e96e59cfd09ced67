package alert

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// robot is one DingTalk robot: its files, what waits to be told to it, and the
// goroutine, owned by Notifier.Start, that does so.
type robot struct {
	o       *Options
	name    string // of its directory; defaultRobot for that of --dingtalk-url-file
	files   files
	render  *renderer
	send    func(ctx context.Context, c credentials, body []byte, now time.Time) error
	metrics *metrics

	// spaces are the namespaces that the robot hears of, nil for all of them and the
	// webhook itself. It is replaced as a whole when the file changes.
	spaces atomic.Pointer[map[string]bool]

	mu      sync.Mutex // guards queue and stopped; held for a few map accesses, or to copy a dozen lines
	queue   *queue
	stopped bool          // run returned: nothing will be sent any more
	wake    chan struct{} // holds one token when a line came that is due before the sender looks again; never closed

	pausedUntil atomic.Int64 // Unix nanoseconds; 0 while not paused

	// The fields below belong to run's goroutine.
	pace        *pace
	failures    int           // calls in a row that failed for passing trouble
	throttled   bool          // the pause is the robot's
	clockOffset time.Duration // of DingTalk's clock from ours, once it told
	seen        sighting      // of the files, as it was logged
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
	r.readNamespaces()
	return r
}

// hears tells whether the robot is told of the event.
func (r *robot) hears(e Event) bool {
	only := r.spaces.Load()
	return only == nil || e.Namespace != "" && (*only)[e.Namespace]
}

// notify takes note of an event. placed tells whether placements are reported; they
// end the trouble of a StatefulSet in any case.
func (r *robot) notify(e Event, placed bool, now time.Time) {
	r.mu.Lock()
	became := refused
	switch {
	case r.stopped:
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
			r.guarded(func() { r.tell(calls, false) })
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
	if _, at, waits := r.turn(now); waits && at.Before(next) {
		next = at
	}
	r.mu.Lock()
	r.queue.wakeBefore = next
	r.mu.Unlock()
	return next.Sub(now)
}

// turn returns which category is told next and when: the first one that may be told
// now, else the one that may be soonest. It reports false if nothing waits. Placements
// come last, unless refusals have kept them waiting for a whole window.
func (r *robot) turn(now time.Time) (category, time.Time, bool) {
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

// tell sends one message and acts on the answer.
func (r *robot) tell(ctx context.Context, last bool) {
	now := r.o.Clock.Now()
	c, at, waits := r.turn(now)
	if !waits || at.After(now) {
		return
	}
	b, err := r.attempt(ctx, c, last)
	r.report(err)
	failed, isFailure := errors.AsType[*failure](err)
	switch {
	case err == nil:
		r.failures, r.throttled = 0, false
		r.pause(0)
	case !isFailure: // errOff: nobody listens
		r.forgetAll()
	case failed.class == classContent:
		r.isolate(b, failed)
	case failed.class == classThrottle:
		r.throttled = true
		r.pause(throttlePause)
	case failed.class == classRetry && r.failures < maxAttempts-1:
		r.failures++
		r.pause(backoff(r.failures, r.o.Random()))
	default:
		r.failures = 0
		r.pause(troublePause)
	}
}

// attempt makes one call with what waits in the category.
func (r *robot) attempt(ctx context.Context, c category, last bool) (batch, error) {
	now := r.o.Clock.Now()
	r.mu.Lock()
	r.queue.forget(now)
	b := r.queue.pick(c, now, last)
	r.mu.Unlock()
	body, err := r.render.message(&b, now)
	if err != nil {
		err = fail(reasonBug, 0, err.Error())
	} else {
		err = r.call(ctx, body)
	}
	if failed, ok := errors.AsType[*failure](err); ok {
		r.metrics.failed.WithLabelValues(failed.reason).Inc()
	}
	if err == nil {
		r.settle(b, true)
	}
	return b, err
}

// call reads the credentials and makes one call, signed for now by DingTalk's clock. If
// that clock is not known and ours is wrong, the answer tells, and the call is made
// again: the alert about a wrong clock must not fail for that clock. The error is errOff
// or a *failure.
func (r *robot) call(ctx context.Context, body []byte) error {
	c, err := readCredentials(r.files, r.o.AllowHTTP)
	if errors.Is(err, errOff) {
		return errOff
	}
	if err != nil {
		return fail(reasonCredentials, 0, err.Error())
	}
	now := r.o.Clock.Now()
	r.take(now)
	err = r.send(ctx, c, body, now.Add(r.clockOffset))
	failed, ok := errors.AsType[*failure](err)
	if !ok || failed.reason != reasonTimestamp || failed.date.IsZero() {
		return err
	}
	now = r.o.Clock.Now()
	r.clockOffset = failed.date.Sub(now)
	r.take(now)
	return r.send(ctx, c, body, failed.date)
}

// take notes a call; Test makes calls without a pace.
func (r *robot) take(now time.Time) {
	if r.pace != nil {
		r.pace.take(now)
	}
}

// isolate has the lines of a refused message sent in halves, and gives up a line that
// was refused alone.
func (r *robot) isolate(b batch, cause *failure) {
	r.mu.Lock()
	halved := r.queue.split(b)
	r.mu.Unlock()
	if halved {
		return
	}
	r.settle(b, false)
	for _, e := range b.entries {
		r.o.Log.Info("gave up an alert that DingTalk refuses", "reason", cause.reason, "code", cause.code,
			"event", e.key.reason, "namespace", e.key.namespace, "statefulSet", e.key.statefulSet)
	}
}

// settle takes what a message told out of the queue; without accepted it was given up.
func (r *robot) settle(b batch, accepted bool) {
	now := r.o.Clock.Now()
	r.mu.Lock()
	r.queue.settle(b, now, accepted)
	r.mu.Unlock()
	if accepted {
		r.metrics.sent.Inc()
		r.metrics.lastSuccess.Set(unix(now))
		return
	}
	for _, e := range b.entries {
		r.metrics.dropped.Add(float64(e.events()))
	}
}

// finish makes one attempt for each category to tell what is left, as far as the pace
// allows. While the robot is rate-limited it keeps silent: no message would be shown.
func (r *robot) finish(ctx context.Context) {
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	cause := "the robot is silent after too many messages"
	if !r.throttled {
		cause = "the share of the robot's messages is used up"
		for c := own; c < categories && ctx.Err() == nil && !r.pace.freeLast(r.o.Clock.Now()).After(r.o.Clock.Now()); c++ {
			if r.waiting(c) == 0 {
				continue
			}
			if _, err := r.attempt(ctx, c, true); errors.Is(err, errOff) {
				r.forgetAll()
				return
			} else if err != nil {
				cause = err.Error()
				break
			}
		}
	}
	left := r.waiting(own) + r.waiting(denials) + r.waiting(placements)
	if left > 0 {
		r.metrics.dropped.Add(float64(left))
		r.o.Log.Info("alerts left unsent at the end", "robot", r.name, "events", left, "cause", cause)
	}
	r.forgetAll()
}

// waiting returns how many events of the category wait.
func (r *robot) waiting(c category) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.queue.events(c)
}

// forgetAll empties the queue but for states that hold.
func (r *robot) forgetAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue.clear()
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

// backoff returns the wait after a failed attempt, 1 for the first, spread by
// random in [0, 1) so that replicas do not call in step.
func backoff(attempt int, random float64) time.Duration {
	d := firstBackoff << (attempt - 1)
	return d/2 + time.Duration(random*float64(d))
}

// outlive returns a context that ends grace after ctx does, so that a call in
// flight may finish and a last one may be made.
func outlive(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return longer, func() { stop(); cancel() }
}
