package alert

import (
	"context"
	"errors"
	"time"
)

// tell sends one message and acts on the answer.
func (r *robot) sendNext(ctx context.Context, last bool) {
	now := r.o.Clock.Now()
	c, at, waits := r.nextCategory(now)
	if !waits || at.After(now) {
		return
	}
	b, err := r.attempt(ctx, c, last)
	r.report(err)
	failed, isFailure := errors.AsType[*failure](err)
	switch {
	case err == nil && len(b.entries) == 0: // what was due is gone
		r.pause(time.Second)
	case err == nil:
		r.failures, r.throttled = 0, false
		r.pause(0)
	case !isFailure: // errOff: nobody listens
		r.forgetAll()
		r.pause(lookEvery) // a state that holds still waits, and is due
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
	_, _ = r.readNamespaces() // a message must not go where it is not meant for; what is wrong is logged by look
	now := r.o.Clock.Now()
	r.mu.Lock()
	r.queue.forget(now)
	b := r.queue.pick(c, now, last)
	r.mu.Unlock()
	if len(b.entries) == 0 {
		return b, nil
	}
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
		r.delivered(b, true)
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
	r.delivered(b, false)
	for _, e := range b.entries {
		r.o.Log.Info("gave up an alert that DingTalk refuses", "reason", cause.reason, "code", cause.code,
			"event", e.key.reason, "namespace", e.key.namespace, "statefulSet", e.key.statefulSet)
	}
}

// delivered takes what a message reported out of the queue; without accepted it was given up.
func (r *robot) delivered(b batch, accepted bool) {
	now := r.o.Clock.Now()
	r.mu.Lock()
	r.queue.delivered(b, now, accepted)
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
