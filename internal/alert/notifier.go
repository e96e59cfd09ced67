// Package alert tells DingTalk groups what the webhook does and what goes wrong.
//
// Events go in by Notify, which costs a few map accesses under a mutex, returns nothing
// and never waits. Each robot has a goroutine, owned by Start, that gathers events for a
// window, merges them into lines, writes a message and sends it. Nothing that happens
// there reaches the caller: a robot that hangs, refuses or is rate-limited costs alerts,
// never an admission.
//
// What an operator can rely on:
//
//   - The webhook's own trouble comes first and in messages of its own, then refused
//     pods, then placed ones. Who may create pods can neither push out nor spoil what
//     others are reported: lines are bounded by namespace, names must be possible, and the
//     lines of a message whose content DingTalk refuses are sent apart.
//   - States (trust, clock, refused writes, recurring repairs) are reported at every change.
//     The same state, and the same mistake of the same StatefulSet, is reported again only
//     after RepeatAfter, until then counted. Another mistake is reported at once.
//   - A placed ordinal is reported, or it is counted in sts_webhook_alert_dropped_total and
//     in a message. A message that fails for a reason that may pass, or that a person can
//     mend, stays in the queue.
//   - A process makes at most AlertRate calls in 63 s to a robot, retries and the last
//     message included. If the robot is rate-limited all the same, because others use it
//     too, the notifier is silent for 10 minutes and goes on merging.
//   - Memory is bounded by MaxLines and MaxOrdinals for each robot.
//   - Credentials are files that are read at each call; no restart is needed. They
//     appear in no log, error, metric or message.
//
// Dry runs are the caller's to leave out.
package alert

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Notifier merges events and sends them to robots.
type Notifier struct {
	o       Options
	on      map[Kind]bool // read only
	render  *renderer
	metrics *metrics
	started atomic.Bool
	robots  atomic.Pointer[[]*robot] // replaced as a whole by scan
}

// New checks the options and registers the metrics. Nothing runs before Start.
func New(o Options) (*Notifier, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("validate alert options: %w", err)
	}
	o = o.withDefaults()
	n := &Notifier{o: o, on: map[Kind]bool{}, render: newRenderer(o)}
	for _, kind := range o.AlertOn {
		n.on[kind] = true
	}
	n.metrics = newMetrics(n.queueLength, n.pausedUntil)
	if err := n.metrics.register(o.Registerer); err != nil {
		return nil, fmt.Errorf("register alert metrics: %w", err)
	}
	n.robots.Store(&[]*robot{newRobot(&n.o, defaultRobot, files{url: o.URLFile, secret: o.SecretFile}, n.render, n.metrics)})
	n.scan()
	return n, nil
}

// scan adds robots for directories that are new, and returns them. A robot whose
// directory is gone stays, and is off.
func (n *Notifier) scan() (added []*robot) {
	all := *n.robots.Load()
	known := map[string]bool{}
	for _, r := range all {
		known[r.name] = true
	}
	for _, name := range robotDirs(n.o.RobotsDir) {
		if known[name] || len(all)+len(added) > maxRobots {
			continue
		}
		added = append(added, newRobot(&n.o, name, filesIn(filepath.Join(n.o.RobotsDir, name)), n.render, n.metrics))
	}
	if len(added) > 0 {
		all = append(append([]*robot(nil), all...), added...)
		n.robots.Store(&all)
	}
	return added
}

// Notify takes note of an event. It never blocks, whatever the robots do, and
// may be called from any goroutine at any time, also before Start and after it.
func (n *Notifier) Notify(e Event) {
	recovers := e.Kind == Placed && n.on[Denied]
	if !n.on[e.Kind] && !recovers {
		return
	}
	if !e.possible() {
		n.metrics.dropped.Inc()
		return
	}
	now := n.o.Clock.Now()
	for _, r := range *n.robots.Load() {
		if r.receives(e) {
			r.notify(e, n.on[Placed], now)
		}
	}
}

// Start sends messages until ctx ends, then what is left once, and returns nil
// within 3 s. Trouble with a robot never ends it. It fails only if it was
// started before.
func (n *Notifier) Start(ctx context.Context) error {
	if n.started.Swap(true) {
		return errors.New("start notifier: it was started before")
	}
	var running sync.WaitGroup
	defer running.Wait()
	for robots := *n.robots.Load(); ; robots = n.scan() {
		for _, r := range robots {
			running.Go(func() { r.run(ctx) })
		}
		timer := n.o.Clock.NewTimer(lookEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C():
		}
	}
}

// Test sends one real test message to each robot that has credentials and returns a
// sentence for each. The error holds the cause and the setting to change; it is about the
// robot of URLFile if none has credentials. It needs no Start and takes at most 10 s for a
// robot.
func (n *Notifier) Test(ctx context.Context) (string, error) {
	all := *n.robots.Load()
	robots := slices.DeleteFunc(slices.Clone(all), func(r *robot) bool {
		_, err := readCredentials(r.files, r.o.AllowHTTP)
		return errors.Is(err, errOff)
	})
	if len(robots) == 0 {
		robots = all[:1]
	}
	var said []string
	var errs []error
	for _, r := range robots {
		sentence, err := r.test(ctx)
		if len(robots) > 1 {
			sentence = "robot " + r.name + ": " + sentence
			if err != nil {
				err = fmt.Errorf("robot %s: %w", r.name, err)
			}
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		said = append(said, sentence)
	}
	return strings.Join(said, "\n"), errors.Join(errs...)
}

// test sends the test message to one robot.
func (r *robot) test(ctx context.Context) (string, error) {
	c, err := readCredentials(r.files, r.o.AllowHTTP)
	if err == nil {
		var body []byte
		if body, err = r.render.test(c.signed(), r.o.Clock.Now()); err == nil {
			err = r.call(ctx, body)
		}
	} else if !errors.Is(err, errOff) {
		err = fail(reasonCredentials, 0, err.Error())
	}
	switch {
	case errors.Is(err, errOff):
		return "", fmt.Errorf(`send test message: %w: put the robot's webhook address into key "url" of Secret sts-webhook-dingtalk, mounted as %s`, errOff, r.files.url)
	case err != nil:
		return "", err
	case c.signed():
		return "DingTalk accepted the test message: the robot's address is right, and the call was signed.", nil
	}
	return `DingTalk accepted the test message: the robot's address is right. The call was not signed, because key "secret" is missing or empty: ` +
		"whoever knows the address can write to the group, unless the robot has a keyword or an address list.", nil
}

// queueLength is the metric's value.
func (n *Notifier) queueLength() (length float64) {
	for _, r := range *n.robots.Load() {
		r.mu.Lock()
		length += float64(r.queue.length())
		r.mu.Unlock()
	}
	return length
}

// pausedUntil is the metric's value: the latest end of a pause, in seconds, or 0.
func (n *Notifier) pausedUntil() (until float64) {
	now := n.o.Clock.Now()
	for _, r := range *n.robots.Load() {
		if end := r.pauseEnd(); end.After(now) {
			until = max(until, unix(end))
		}
	}
	return until
}
