// Package rotator owns the webhook's trust: a private CA, the serving
// certificate signed by it, the Secret that holds both, and the caBundle by
// which every kube-apiserver verifies us.
//
// # For operators
//
// Everything lives in one Secret:
//
//	ca.crt       the CA that signs, then those before it for --ca-overlap
//	ca.key       the key of the first CA in ca.crt
//	tls.crt/.key the serving certificate, then bridges: the key of a CA, signed
//	             by the CA before it, for apiservers that still trust that one
//
// and its annotations, sts-webhook.custom-system/rotation, with the number of the
// state (generation) and the step that led to it, .../rotate, what an operator asks
// for, and .../reported, when recurring repairs were reported. Nothing is mounted:
// keys are in memory and, by the Secret, in etcd, where they are encrypted only if
// the cluster encrypts Secrets at rest. A Secret that is deleted or damaged is not
// a reason to rotate: each replica remembers it and writes it back. To replace a CA
// on purpose use "sts-webhook rotate", never "kubectl delete secret".
//
// # How it is built
//
// One loop looks at the cluster (cluster.go), decides (protocol.go, a pure
// function), and makes at most one write (loop.go), with certificates from
// issuer.go and keys.go. No leader: every write carries the resourceVersion of
// what was read. docs/rotation.md has the rules and the measurements.
package rotator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Fixed names of the objects that the rotator owns.
const (
	SecretName                  = "sts-webhook-certs"
	ConfigurationName           = "sts-mutating-webhook"
	ValidatingConfigurationName = "sts-validating-webhook"
	ServiceName                 = "sts-webhook"

	fieldOwner = "sts-webhook" // in managedFields
)

// Options configure a Rotator. Namespace, Policy and Dial are required.
type Options struct {
	Namespace  string // of the Secret and the Service
	Policy     Policy
	Dial       func(context.Context) (net.Conn, error) // connects to our own TLS listener
	Report     func(Event)                             // must not block; nil reports nothing
	Now        func() time.Time                        // the local clock; nil means time.Now
	Log        logr.Logger
	Registerer prometheus.Registerer // nil registers nothing
}

// Rotator keeps the keyring, the caBundles and the served certificate in step.
type Rotator struct {
	opts    Options
	log     logr.Logger
	clock   *serverClock
	watches *watches
	metrics *metrics
	issuer  issuer
	dial    func(context.Context) (net.Conn, error)
	// Set by RESTConfig and SetupWithManager, constant afterwards.
	host    string
	cluster *cluster

	memory  atomic.Pointer[keyring] // what this replica serves and defends; nil until the first
	serving atomic.Pointer[tls.Certificate]
	served  chan struct{} // closed when serving is first set
	kick    chan struct{} // capacity 1: something changed
	ready   atomic.Pointer[error]
	overdue atomic.Int64 // when the oldest write that fails was first tried, Unix nanoseconds; 0: none fails

	loop loopState // used by the loop alone
}

// New returns a Rotator that does nothing until Start.
func New(o Options) *Rotator {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Report == nil {
		o.Report = func(Event) {}
	}
	r := &Rotator{
		opts: o, log: o.Log.WithName("rotator"), clock: &serverClock{local: o.Now}, dial: o.Dial,
		served: make(chan struct{}), kick: make(chan struct{}, 1), loop: newLoopState(),
	}
	r.watches = &watches{changed: r.wake, now: o.Now}
	r.issuer = newIssuer(o.Policy, ServiceName+"."+o.Namespace+".svc")
	r.metrics = newMetrics(o.Registerer, r.Overdue, r.clock.Skew)
	starting := errors.New("starting: nothing was read from the apiserver yet")
	r.ready.Store(&starting)
	return r
}

// DNSName is the name that the apiserver verifies: the Service's, as in the
// webhook configuration's clientConfig.service.
func (r *Rotator) DNSName() string { return r.issuer.dnsName }

// RESTConfig returns a copy of base that learns the apiserver's time, and whether
// our objects are being watched. The manager
// given to SetupWithManager must be made with it.
func (r *Rotator) RESTConfig(base *rest.Config) *rest.Config {
	cfg := rest.CopyConfig(base)
	r.host = cfg.Host
	cfg.Wrap(r.clock.wrap)
	cfg.Wrap(r.watches.wrap)
	return cfg
}

// CachedObjects limits the manager's lists and watches to our objects. The apiserver
// authorises a list with a field selector for one name by that name, so RBAC can
// do the same with resourceNames (Kubernetes API reference, field selectors).
func (r *Rotator) CachedObjects() map[client.Object]cache.ByObject {
	objects := map[client.Object]cache.ByObject{
		&corev1.Secret{}: {
			Field:      fields.OneTermEqualSelector("metadata.name", SecretName),
			Namespaces: map[string]cache.Config{r.opts.Namespace: {}},
		},
	}
	for _, c := range configurations {
		objects[c.object()] = cache.ByObject{Field: fields.OneTermEqualSelector("metadata.name", c.name)}
	}
	return objects
}

// checkInterval is how old the last live look may be. client-go waits up to half a
// minute before it repeats a watch; in that time the loop looks by itself, or this
// replica would go on serving a CA that was distrusted.
func (r *Rotator) checkInterval() time.Duration {
	since := later(r.loop.disturbed, time.Unix(0, r.watches.ended.Load()))
	if r.watches.open.Load() <= int64(len(configurations)) && r.opts.Now().Sub(since) < blindFor {
		return min(blindInterval, r.opts.Policy.RotationCheck)
	}
	return r.opts.Policy.RotationCheck
}

// SetupWithManager lets the Rotator read and watch through mgr, whose cache must
// be limited to CachedObjects. It does not add the Rotator to mgr, which would
// start it only once every cache has been filled: it has to say why one is not.
func (r *Rotator) SetupWithManager(mgr manager.Manager) error {
	watched := []client.Object{&corev1.Secret{}}
	for _, c := range configurations {
		watched = append(watched, c.object())
	}
	var informers []cache.Informer
	for _, obj := range watched {
		informer, err := mgr.GetCache().GetInformer(context.Background(), obj, cache.BlockUntilSynced(false))
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
		informers = append(informers, informer)
	}
	r.cluster = &cluster{
		namespace: r.opts.Namespace, live: mgr.GetAPIReader(), cached: mgr.GetCache(), writer: mgr.GetClient(),
		synced: func() bool {
			for _, informer := range informers {
				if !informer.HasSynced() {
					return false
				}
			}
			return true
		},
	}
	return nil
}

// Start runs the loop until ctx ends; then it returns nil. Nothing that the
// apiserver answers, or does not answer, ends it before.
func (r *Rotator) Start(ctx context.Context) error {
	for ctx.Err() == nil {
		again := time.NewTimer(r.reconcile(ctx))
		select {
		case <-ctx.Done():
		case <-r.kick:
		case <-again.C:
		}
		again.Stop()
	}
	return nil
}

// wake makes the loop look again soon. It never blocks.
func (r *Rotator) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// Overdue is for how long a write has been due that is not done; 0 if none is.
func (r *Rotator) Overdue() time.Duration {
	now, longest := r.clock.Now(), time.Duration(0)
	if k := r.memory.Load(); k != nil {
		_, due := nextStep(k.summary, request{}, r.opts.Policy, now)
		longest = now.Sub(due)
	}
	if since := r.overdue.Load(); since != 0 {
		longest = max(longest, now.Sub(time.Unix(0, since)))
	}
	return max(0, longest)
}
