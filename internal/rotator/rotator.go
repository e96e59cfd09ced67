package rotator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	certrotator "github.com/open-policy-agent/cert-controller/pkg/rotator"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Fixed names of the objects that the rotator owns.
const (
	SecretName        = "sts-webhook-certs"
	ConfigurationName = "sts-mutating-webhook"
	ServiceName       = "sts-webhook"
)

// EventKind says what an Event is about.
type EventKind string

const (
	EventCertificate EventKind = "certificate" // a step, a renewal or a repair
	EventTrust       EventKind = "trust"       // the apiserver stopped or began to trust us
	EventClock       EventKind = "clock"       // the node's clock is wrong, or right again
)

// Event is something an operator may want to know. One that concerns the fleet
// is reported by the replica that did the write, so once.
type Event struct {
	Kind    EventKind
	Reason  string // one word, CamelCase
	Message string // a sentence; never holds key material
}

// Options configure a Rotator. Namespace and Policy are required.
type Options struct {
	Namespace  string // of the Secret and the Service
	Policy     Policy
	Report     func(Event)      // must not block; nil reports nothing
	Now        func() time.Time // nil means time.Now
	Log        logr.Logger
	Registerer prometheus.Registerer // nil registers nothing
}

// Rotator keeps the keyring, the caBundle and the served certificate in step.
type Rotator struct {
	opts    Options
	log     logr.Logger
	clock   *skewClock
	metrics *metrics
	make    authority

	// Set by SetupWithManager, constant afterwards.
	client client.Client // writes, and reads that must be fresh
	live   client.Reader
	cached client.Reader // the two objects we watch
	proof  string        // address of our own TLS listener

	memory  atomic.Pointer[keyring] // the last good keyring; nil until the first
	serving atomic.Pointer[tls.Certificate]
	served  chan struct{} // closed when serving is first set
	known   chan struct{} // closed when memory is first set
	kick    chan struct{} // capacity 1: something changed
	ready   atomic.Pointer[error]

	// Used by the loop alone.
	lostSince    time.Time // when the Secret was first seen without a CA that anybody knows
	bundleSince  time.Time // since when the live caBundle equals memory's
	strayedSince time.Time // since when it does not, as far as it is left to the engine
	sampled      time.Time // when the apiserver's clock was last asked for
	trust        trustWatch
	clockBad     bool
	badRequest   string // the last request annotation that could not be read
}

// DNSName is the name that the apiserver verifies: the Service's, as in the
// webhook configuration's clientConfig.service.
func (r *Rotator) DNSName() string { return ServiceName + "." + r.opts.Namespace + ".svc" }

// New returns a Rotator that does nothing until its manager starts.
func New(o Options) *Rotator {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Report == nil {
		o.Report = func(Event) {}
	}
	r := &Rotator{
		opts: o, log: o.Log.WithName("rotator"), clock: &skewClock{local: o.Now},
		known: make(chan struct{}), served: make(chan struct{}), kick: make(chan struct{}, 1),
	}
	r.metrics = newMetrics(o.Registerer, r.clock)
	r.make = authority{policy: o.Policy, engine: r.newEngine("")}
	r.setReady(errors.New("starting: no certificate yet"))
	return r
}

// RESTConfig returns a copy of base whose every list and watch is limited to
// the two objects we own and which learns the apiserver's time. The manager
// given to SetupWithManager must be made with it.
func (r *Rotator) RESTConfig(base *rest.Config) *rest.Config {
	cfg := rest.CopyConfig(base)
	cfg.Wrap(onlyByName)
	cfg.Wrap(r.clock.wrap)
	return cfg
}

// SetupWithManager adds the engine and our loop to mgr. proofAddress is the
// host and port of our own TLS listener, as seen from this process.
func (r *Rotator) SetupWithManager(mgr manager.Manager, markerDir, proofAddress string) error {
	informers := mgr.GetCache()
	r.client, r.live, r.cached, r.proof = mgr.GetClient(), mgr.GetAPIReader(), informers, proofAddress
	for _, obj := range []client.Object{&corev1.Secret{}, &admissionv1.MutatingWebhookConfiguration{}} {
		informer, err := informers.GetInformer(context.Background(), obj, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watch %T: %w", obj, err)
		}
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { r.wake() },
			UpdateFunc: func(_, _ any) { r.wake() },
			DeleteFunc: func(any) { r.wake() },
		}); err != nil {
			return fmt.Errorf("watch %T: %w", obj, err)
		}
	}
	engine := r.newEngine(markerDir)
	if err := certrotator.AddRotator(&engineManager{Manager: mgr, rotator: r}, engine); err != nil {
		return fmt.Errorf("add cert-controller: %w", err)
	}
	return mgr.Add(r)
}

// NeedLeaderElection is false: every replica serves, repairs and rotates.
func (r *Rotator) NeedLeaderElection() bool { return false }

// Start runs the loop until ctx ends; then it returns nil.
func (r *Rotator) Start(ctx context.Context) error {
	const retryFirst, retryLast = 100 * time.Millisecond, 5 * time.Second
	retry := retryFirst
	for ctx.Err() == nil {
		wait, err := r.pass(ctx)
		switch {
		case err == nil:
			retry = retryFirst
		case ctx.Err() != nil:
			return nil
		default:
			r.log.Error(err, "cannot keep certificates in order, retrying", "after", retry.String())
			wait, retry = retry, min(2*retry, retryLast)
		}
		select {
		case <-ctx.Done():
		case <-r.kick:
		case <-time.After(wait):
		}
	}
	return nil
}

// pass is reconcile with a bound: an apiserver that does not answer must not
// hold up the events that follow.
func (r *Rotator) pass(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	return r.reconcile(ctx)
}

// wake makes the loop look again soon. It never blocks.
func (r *Rotator) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// reconcile looks at both objects once, does at most one write, and says when
// to look again if nothing happens before.
func (r *Rotator) reconcile(ctx context.Context) (time.Duration, error) {
	from := r.cached
	if r.memory.Load() == nil || r.trust.lost() {
		// The first keyring is never chosen by a stale view; and a replica whose
		// watch of the Secret broke (client-go waits up to 30 s before the next)
		// may miss the keyring that the caBundle already tells of.
		from = r.live
	}
	secret, err := r.secret(ctx, from)
	if err != nil {
		return 0, r.notReadyFor(err)
	}
	config, err := r.configuration(ctx, from)
	if err != nil {
		return 0, r.notReadyFor(err)
	}
	bundle, err := r.bundleOf(config)
	if err != nil {
		return 0, r.notReadyFor(err)
	}
	if err := r.sampleClock(ctx); err != nil {
		return 0, r.notReadyFor(err)
	}
	if wait, err := r.settle(ctx, secret, bundle); wait > 0 || err != nil {
		return wait, r.notReadyFor(err)
	}
	r.serve(bundle, config != nil)
	again, err := r.inject(ctx, bundle, config != nil)
	if err != nil {
		return 0, r.notReadyFor(err)
	}
	if !r.proven() {
		if err := r.prove(ctx); err != nil {
			r.setReady(err)
			return 100 * time.Millisecond, nil
		}
	}
	wait, err := r.rotate(ctx, secret, bundle)
	return min(wait, again, r.trust.wait()), err
}
