package alert

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"
)

// deliver sends one digest: at most maxAttempts calls for passing trouble, one
// shortening, a pause where sending on would be useless or punished. What was
// not told stays in pending unless DingTalk will never accept it.
func (n *Notifier) deliver(ctx, calls context.Context) {
	limit := maxBodyBytes
	for attempt := 1; ; attempt++ {
		n.collect() // what came while waiting goes into the same message
		err := n.attempt(calls, limit, false)
		n.report(err)
		var failed *failure
		switch {
		case err == nil:
			return
		case errors.Is(err, errOff):
			n.forgetAll()
			return
		case !errors.As(err, &failed):
			return // attempt returns nothing else
		case failed.class == classTooLong && limit == maxBodyBytes:
			limit = shortBodyBytes
		case failed.class == classThrottle:
			n.pause(throttlePause)
			n.punished = true
			return
		case failed.class == classConfig || failed.class == classRetry && attempt >= maxAttempts:
			n.pause(troublePause)
			return
		case failed.class == classTooLong || failed.class == classRefused:
			return // attempt has given the digest up
		}
		if !n.sleep(ctx, backoff(attempt, n.o.Random())) || !n.awaitTurn(ctx) {
			return
		}
	}
}

// attempt makes one call with what waits, with credentials read and a signature
// made for it. It settles the digest if the answer is final.
func (n *Notifier) attempt(calls context.Context, limit int, last bool) error {
	d, err := n.render.fit(n.pending, limit, last)
	if err != nil {
		err = fail(reasonBug, 0, err.Error())
		d.choices = allOf(n.pending)
	} else {
		err = n.call(calls, d.body)
	}
	var failed *failure
	switch {
	case err == nil:
		n.settle(d, true)
	case errors.As(err, &failed):
		n.metrics.failed.WithLabelValues(failed.reason).Inc()
		if failed.class == classRefused || failed.class == classTooLong && limit < maxBodyBytes {
			n.settle(d, false)
		}
	}
	return err
}

// call reads the credentials and makes one signed call with body. The error is
// errOff or a *failure.
func (n *Notifier) call(ctx context.Context, body []byte) error {
	c, err := readCredentials(n.o.URLFile, n.o.SecretFile, n.o.AllowHTTP)
	if errors.Is(err, errOff) {
		return errOff
	}
	if err != nil {
		return fail(reasonCredentials, 0, err.Error())
	}
	return post(ctx, n.client, c, body, n.o.Clock.Now())
}

// Test sends one real test message with the mounted credentials and returns a
// sentence for the operator. The error holds the cause and the setting to change.
// It needs no Start and takes at most 10 s.
func (n *Notifier) Test(ctx context.Context) (string, error) {
	p, _ := compose(nil, n.render.escape)
	p.Test = true
	p.From, _ = span(n.o.Clock.Now(), n.o.Clock.Now())
	body, err := n.render.render(p)
	if err != nil {
		return "", err
	}
	err = n.call(ctx, body)
	if errors.Is(err, errOff) {
		return "", fmt.Errorf(`send test message: no robot is configured: put the robot's webhook address into key "url" of Secret sts-webhook-dingtalk, mounted as %s`, n.o.URLFile)
	}
	if err != nil {
		return "", err
	}
	return "DingTalk accepted the test message: the robot's address, signature and security settings are right.", nil
}

// report logs a change: when trouble begins, when its cause changes and when it
// is over. The same cause is logged once, however many messages meet it.
func (n *Notifier) report(err error) {
	cause := ""
	var failed *failure
	switch {
	case errors.As(err, &failed):
		cause = fmt.Sprint(failed.reason, failed.code)
	case err != nil:
		cause = err.Error()
	}
	if cause == n.lastCause {
		return
	}
	n.lastCause = cause
	switch {
	case cause == "":
		n.o.Log.Info("alerts are sent again")
	case failed == nil:
		n.o.Log.Info("alerts are off", "cause", cause, "file", n.o.URLFile)
	default:
		n.o.Log.Error(failed, "alerts cannot be sent", "reason", failed.reason)
	}
}

// forgetAll empties pending. It has room for a full inbox beside what a full
// inbox left behind earlier, so that nothing is lost on the way.
func (n *Notifier) forgetAll() {
	n.pending = newLedger(2*n.o.MaxLines, 2*n.o.MaxOrdinals)
	n.waiting.Store(0)
}

// pause keeps the sender silent for d; events go on merging.
func (n *Notifier) pause(d time.Duration) {
	n.pausedUntil = n.o.Clock.Now().Add(d)
	n.metrics.pausedUntil.Set(unix(n.pausedUntil))
}

// awaitTurn waits for the end of a pause and for the share of the rate limit; it
// reports false when ctx ended first.
func (n *Notifier) awaitTurn(ctx context.Context) bool {
	if wait := n.pausedUntil.Sub(n.o.Clock.Now()); wait > 0 {
		if !n.sleep(ctx, wait) {
			return false
		}
	}
	n.pausedUntil, n.punished = time.Time{}, false
	n.metrics.pausedUntil.Set(0)
	n.tune()
	now := n.o.Clock.Now()
	return n.sleep(ctx, n.limiter.ReserveN(now, 1).DelayFrom(now))
}

// tune sets the limiter to our share among the replicas of this moment.
func (n *Notifier) tune() {
	now := n.o.Clock.Now()
	every, burst := pace(n.o.Replicas())
	n.limiter.SetLimitAt(now, every)
	n.limiter.SetBurstAt(now, burst)
}

// awaitEvent waits until something is in the inbox; false when ctx ended first.
func (n *Notifier) awaitEvent(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-n.wake:
		return true
	}
}

// sleep waits for d and reports false when ctx ended first.
func (n *Notifier) sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := n.o.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C():
		return true
	}
}

// DingTalk's rule: robotLimit messages in any robotWindow, counted over all
// senders. The window is taken 3 s longer, for calls that travel differently long.
const (
	robotLimit   = 20
	robotWindow  = 63 * time.Second
	soloInterval = 4 * time.Second
	soloBurst    = 5
)

// pace returns one replica's share of the robot's limit. A replica sends at most
// its burst, then one message per interval, and one more when it ends. The
// interval is such that replicas * (burst + robotWindow/interval + 1) stays
// within robotLimit; up to 10 replicas that holds in the worst case, beyond only
// on average (one message per replica and minute is already too much for 21).
func pace(replicas int) (rate.Limit, int) {
	replicas = max(1, replicas)
	burst := max(1, soloBurst/replicas)
	after := max(0, robotLimit/replicas-burst-1) // messages after the burst within one window
	interval := max(
		soloInterval*time.Duration(replicas),
		robotWindow/time.Duration(after+1),
		robotWindow*time.Duration(replicas)/robotLimit,
	)
	return rate.Every(interval), burst
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

// allOf chooses everything that waits.
func allOf(waiting *ledger) (all []choice) {
	for _, at := range waiting.byAge() {
		all = append(all, choice{key: at.key, ordinals: sorted(at.ordinals), events: at.events()})
	}
	return all
}
