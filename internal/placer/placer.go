package placer

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"sts-mutating-webhook/internal/placement"
)

// Decision says what is to be done about a pod behind the gate.
type Decision struct {
	// Patch is a JSON patch that places the pod, only adds to it, and removes the
	// gate. Empty: there is nothing to do, or the pod cannot be placed.
	Patch []byte
	// Problem says why the pod cannot be placed. Empty unless Patch is.
	Problem string
	// Report is called once the pod was placed, or the Problem was first seen. May be nil.
	Report func()
}

// Recorder writes events of objects. client-go's record.EventRecorder is one.
type Recorder interface {
	Event(object runtime.Object, eventType, reason, message string)
}

// State is how many pods have waited for longer than a minute.
type State struct {
	Waiting int    // 0: none does any more
	Pod     string // one of them, as namespace/name; empty if there is none
}

// Options configure a Placer. Cluster and Decide are required.
type Options struct {
	Cluster Cluster
	// Decide must be a pure function. It sees a pod without the fields that no
	// decision rests on: see Trim.
	Decide func(*corev1.Pod) Decision
	// Recorder, nil records nothing.
	Recorder Recorder
	// Changed is called when pods begin to wait for longer than a minute, and when
	// none does any more. It must not block; nil reports nothing.
	Changed func(State)
	// Replica is this replica's name, different from that of the others.
	Replica    string
	Log        logr.Logger
	Registerer prometheus.Registerer // nil registers nothing
}

const (
	// checkRight is how often it is looked whether we have the right to place pods.
	checkRight = 15 * time.Second
	// spread is the longest wait before a replica touches a pod; see delay.
	spread = 500 * time.Millisecond
	// workers is how many patches are under way at once.
	workers = 8
	// longWait is when pods that wait are reported. A replica that has just started
	// first gets time to place those that it finds.
	longWait, settling = time.Minute, 10 * time.Second
	// lookEvery is how often the waiting pods are counted.
	lookEvery = 5 * time.Second
	// repeatEvent is how often a problem is written into events again, which Kubernetes
	// keeps for an hour.
	repeatEvent = 30 * time.Minute
)

// Placer places pods. Its methods other than Start are not for callers.
type Placer struct {
	opts    Options
	log     logr.Logger
	waiting *waiting
	metrics *metrics
	// reported reports whether Changed was last called with pods; used by watchWaiting alone.
	reported bool
}

// New returns a Placer that does nothing until Start.
func New(o Options) *Placer {
	if o.Changed == nil {
		o.Changed = func(State) {}
	}
	p := &Placer{opts: o, log: o.Log.WithName("placer"), waiting: newWaiting()}
	p.metrics = newMetrics(o.Registerer, p.waiting)
	return p
}

// Start works whenever it has the right to, until ctx ends; then it returns nil.
func (p *Placer) Start(ctx context.Context) error {
	for ctx.Err() == nil {
		if allowed, err := p.opts.Cluster.Allowed(ctx); err == nil && allowed {
			p.session(ctx)
			continue // the right was lost, or ctx ended
		}
		sleep(ctx, checkRight)
	}
	return nil
}

// session places pods until the right to is lost or ctx ends.
func (p *Placer) session(ctx context.Context) {
	p.log.Info("placing pods that wait behind the scheduling gate", "gate", placement.Gate)
	q := newQueue(p)
	ctx, end := context.WithCancel(ctx)
	defer end()
	var g errgroup.Group
	g.Go(func() error {
		defer end()
		return p.opts.Cluster.Watch(ctx, q)
	})
	g.Go(func() error {
		defer end()
		return p.untilNotAllowed(ctx, q.forbidden)
	})
	g.Go(func() error { p.watchWaiting(ctx); return nil })
	for range workers {
		g.Go(func() error { q.work(ctx); return nil })
	}
	g.Go(func() error {
		<-ctx.Done()
		q.ShutDown()
		return nil
	})
	err := g.Wait()
	p.waiting.clear()
	if err != nil {
		p.log.Info("cannot watch pods", "cause", err.Error())
		sleep(ctx, time.Second)
	}
	p.log.Info("no longer placing pods that wait behind the scheduling gate")
}

// untilNotAllowed returns when the right was lost, or ctx ended. It looks at once when
// a patch was forbidden. Whoever cannot ask goes on.
func (p *Placer) untilNotAllowed(ctx context.Context, forbidden <-chan struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-forbidden:
			sleep(ctx, time.Second) // admission plugins may answer the same, again and again
		case <-time.After(checkRight):
		}
		if allowed, err := p.opts.Cluster.Allowed(ctx); err == nil && !allowed {
			return nil
		}
	}
}

// watchWaiting reports when pods begin to wait for long and when none does any more.
func (p *Placer) watchWaiting(ctx context.Context) {
	for sleep(ctx, lookEvery) {
		s := p.waiting.long(time.Now())
		if s.Waiting > 0 == p.reported {
			continue
		}
		p.reported = s.Waiting > 0
		p.opts.Changed(s)
	}
}

// sleep returns whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
