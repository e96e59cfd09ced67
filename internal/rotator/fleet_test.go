package rotator

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

func init() {
	ctrllog.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())  // its buffer would be flushed by a goroutine that never ends
	utilruntime.ErrorHandlers = nil // they compare the times of different bubbles
}

const day = 24 * time.Hour

// defaults are the defaults of the flags, but for the look at the cluster: it
// costs a millisecond of the test each time.
var defaults = Policy{CADuration: 3650 * day, CertDuration: 365 * day, CAOverlap: day, RotationCheck: 20 * time.Second}

// noResync spares years of events that say nothing: by default every ten hours.
var noResync = 100 * 365 * day

// every is p with another RotationCheck.
func (p Policy) every(d time.Duration) Policy {
	p.RotationCheck = d
	return p
}

// fleet is some replicas, each with a manager of its own, on one apiserver.
// It lives in a synctest bubble.
type fleet struct {
	*apiServer
	policy    Policy
	runningMu sync.Mutex // guards replicas
	replicas  []*replica // those that run
	started   int
	trust     trustChecker
	eventsMu  sync.Mutex // guards events
	events    []Event
}

// newFleet returns a fleet without a replica on a cluster where the manifests were
// applied: a configuration without a caBundle, beside objects that are not ours.
func newFleet(t *testing.T, p Policy) *fleet {
	f := &fleet{apiServer: newAPIServer(t), policy: p}
	f.trust.fleet, f.trust.overlap = f, p.CAOverlap
	f.onVersion = func(*version) { f.trust.check() }
	f.put(secretsPath+"/other", "test", &corev1.Secret{Data: map[string][]byte{caKeyKey: []byte("not ours")}})
	f.put(configsPath+"/other", "test", &admissionv1.MutatingWebhookConfiguration{Webhooks: []admissionv1.MutatingWebhook{hook("test", ServiceName)}})
	f.put(configPath, "kubectl", &admissionv1.MutatingWebhookConfiguration{Webhooks: []admissionv1.MutatingWebhook{hook("test", ServiceName)}})
	return f
}

func hook(namespace, service string) admissionv1.MutatingWebhook {
	return admissionv1.MutatingWebhook{Name: service + "." + namespace + ".svc", ClientConfig: admissionv1.WebhookClientConfig{
		Service: &admissionv1.ServiceReference{Namespace: namespace, Name: service},
	}}
}

// put stores obj, whatever was there, on behalf of a field manager. Nobody has to be trusted by it.
func (a *apiServer) put(key, manager string, obj client.Object) {
	gvk := kinds[path.Dir(key)]
	obj.GetObjectKind().SetGroupVersionKind(gvk)
	obj.SetName(path.Base(key))
	obj.SetResourceVersion("")
	if gvk.Kind == "Secret" {
		obj.SetNamespace("test")
	}
	v, resp := a.store(key, manager, "", true, func(map[string]any) map[string]any { return decode(encodeJSON(obj)) })
	if resp.StatusCode != http.StatusOK {
		a.t.Errorf("put %s: %d", key, resp.StatusCode)
	}
	if v != nil && a.onVersion != nil {
		a.onVersion(v)
	}
}

// object decodes the current version into obj and reports whether there is one.
func (a *apiServer) object(key string, obj client.Object) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, ok := a.current[key]
	if ok {
		utilruntime.Must(runtime.DefaultUnstructuredConverter.FromUnstructured(decode(a.log[i].json), obj))
	}
	return ok
}

func (a *apiServer) secret() *corev1.Secret {
	s := &corev1.Secret{}
	a.object(secretPath, s)
	return s
}

func (a *apiServer) config() *admissionv1.MutatingWebhookConfiguration {
	c := &admissionv1.MutatingWebhookConfiguration{}
	a.object(configPath, c)
	return c
}

func (a *apiServer) bundle() []byte {
	if c := a.config(); len(c.Webhooks) > 0 {
		return c.Webhooks[0].ClientConfig.CABundle
	}
	return nil
}

// editSecret and setBundle change an object as somebody else would.
func (a *apiServer) editSecret(manager string, edit func(*corev1.Secret)) {
	s := a.secret()
	edit(s)
	a.put(secretPath, manager, s)
}

func (a *apiServer) setBundle(manager string, bundle []byte) {
	c := a.config()
	c.Webhooks[0].ClientConfig.CABundle = bundle
	a.put(configPath, manager, c)
}

func (a *apiServer) request(q request) {
	a.editSecret("sts-webhook-rotate", func(s *corev1.Secret) {
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations[requestAnnotation] = encode(q)
	})
}

func (a *apiServer) delete(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, ok := a.current[key]
	if !ok {
		return
	}
	obj := decode(a.log[i].json)
	v := &version{number: int64(len(a.log) + 1), at: a.now(), path: key, event: "DELETED"}
	obj["metadata"].(map[string]any)["resourceVersion"] = fmt.Sprint(v.number)
	v.json, a.log[i].until = encodeJSON(obj), v.at
	a.append(v)
	delete(a.current, key)
}

// replica is one process.
type replica struct {
	*Rotator
	name     string
	link     *link
	format   int // of its records; 0: as built
	registry *prometheus.Registry
	cancel   context.CancelFunc
	ended    chan error // what its manager and its loop returned
	logMu    sync.Mutex // guards lines
	lines    []string
}

// start starts a replica; options change it before its first request.
func (f *fleet) start(options ...func(*replica, *Options)) *replica {
	f.t.Helper()
	f.started++
	p := &replica{name: fmt.Sprintf("replica-%d", f.started), registry: prometheus.NewRegistry(), ended: make(chan error, 2)}
	p.link = f.link(p.name)
	o := Options{Namespace: "test", Policy: f.policy, Dial: p.dial, Registerer: p.registry}
	o.Log = funcr.New(func(prefix, args string) {
		p.logMu.Lock()
		defer p.logMu.Unlock()
		p.lines = append(p.lines, prefix+" "+args)
	}, funcr.Options{})
	o.Report = func(e Event) {
		f.eventsMu.Lock()
		defer f.eventsMu.Unlock()
		f.events = append(f.events, e)
	}
	for _, option := range options {
		option(p, &o)
	}
	p.Rotator = New(o)
	p.issuer.format = cmp.Or(p.format, p.issuer.format)
	mgr, err := manager.New(p.RESTConfig(f.restConfig(p.link)), manager.Options{
		Scheme: testScheme(), Logger: logr.Discard(), Metrics: metricsserver.Options{BindAddress: "0"},
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return testMapper(), nil },
		Cache:          cache.Options{ByObject: p.CachedObjects(), SyncPeriod: &noResync},
	})
	if err == nil {
		err = p.SetupWithManager(mgr)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	p.cancel = cancel
	for _, start := range []func(context.Context) error{mgr.Start, p.Rotator.Start} {
		go func() {
			err := start(ctx)
			if ctx.Err() == nil {
				err = fmt.Errorf("%s exited: %v", p.name, err)
			}
			p.ended <- err
		}()
	}
	f.runningMu.Lock()
	defer f.runningMu.Unlock()
	f.replicas = append(f.replicas, p)
	return p
}

// dial connects to the replica's TLS listener.
func (p *replica) dial(context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		_ = tls.Server(theirs, &tls.Config{GetCertificate: p.GetCertificate, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}).Handshake()
		_ = theirs.Close()
	}()
	return ours, nil
}

func (f *fleet) stop(p *replica) {
	f.t.Helper()
	p.cancel()
	for range 2 {
		if err := <-p.ended; err != nil {
			f.t.Error(err)
		}
	}
	f.runningMu.Lock()
	defer f.runningMu.Unlock()
	f.replicas = slices.DeleteFunc(f.replicas, func(other *replica) bool { return other == p })
}

func (f *fleet) stopAll() {
	for _, p := range f.running() {
		f.stop(p)
	}
}

func (f *fleet) running() []*replica {
	f.runningMu.Lock()
	defer f.runningMu.Unlock()
	return slices.Clone(f.replicas)
}

func (a *apiServer) restConfig(l *link) *rest.Config {
	return &rest.Config{Host: "https://10.0.0.1:443", Transport: l, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
}

// client is what a command of an operator uses.
func (a *apiServer) client(l *link) client.Client {
	c, err := client.New(a.restConfig(l), client.Options{Scheme: testScheme(), Mapper: testMapper()})
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// testScheme and testMapper know what those of internal/app know of our objects.
func testScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(s))
	utilruntime.Must(admissionv1.AddToScheme(s))
	return s
}

func testMapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper([]schema.GroupVersion{corev1.SchemeGroupVersion, admissionv1.SchemeGroupVersion})
	m.Add(corev1.SchemeGroupVersion.WithKind("Secret"), meta.RESTScopeNamespace)
	for _, c := range configurations {
		m.Add(admissionv1.SchemeGroupVersion.WithKind(c.kind), meta.RESTScopeRoot)
	}
	return m
}

// reported lists the messages of the events of one reason.
func (f *fleet) reported(reason string) []string {
	f.eventsMu.Lock()
	defer f.eventsMu.Unlock()
	var messages []string
	for _, e := range f.events {
		if e.Reason == reason {
			messages = append(messages, e.Message)
		}
	}
	return messages
}

// logged lists the lines that hold every one of these texts.
func (p *replica) logged(texts ...string) []string {
	p.logMu.Lock()
	defer p.logMu.Unlock()
	var found []string
	for _, line := range p.lines {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			found = append(found, line)
		}
	}
	return found
}

// writesSince lists the versions that replicas wrote after version n of the cluster.
func (a *apiServer) writesSince(n int) []*version {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []*version
	for _, v := range a.log[n:] {
		if v.writer != "" {
			found = append(found, v)
		}
	}
	return found
}

func (a *apiServer) versions() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.log)
}

// settled fails unless every replica is Ready and remembers the Secret, the caBundle
// is its ca.crt, what is not ours is untouched, and nothing is written any more.
func (f *fleet) settled() {
	f.t.Helper()
	time.Sleep(time.Minute)
	before := f.versions()
	time.Sleep(10 * time.Minute)
	f.trust.check()
	if n := f.versions() - before; n != 0 {
		f.t.Errorf("%d writes in ten minutes after everything was done", n)
	}
	secret := f.secret()
	held, err := parseKeyring(secret, ServiceName+".test.svc")
	if err != nil || held.serving == nil {
		f.t.Fatalf("the Secret at the end: %v", err)
	}
	if !bytes.Equal(f.bundle(), held.bundle()) {
		f.t.Error("the caBundle at the end is not the Secret's ca.crt")
	}
	for _, p := range f.running() {
		if err := p.Ready(); err != nil {
			f.t.Errorf("%s at the end: not ready: %v", p.name, err)
		}
		if k := p.memory.Load(); k == nil || k.digest != held.digest {
			f.t.Errorf("%s at the end remembers another Secret than there is", p.name)
		}
		if p.Overdue() != 0 {
			f.t.Errorf("%s at the end: overdue for %s", p.name, p.Overdue())
		}
	}
	for _, v := range f.writesSince(0) {
		if v.path != secretPath && v.path != configPath {
			f.t.Errorf("%s wrote %s, which is not ours", v.writer, v.path)
		}
	}
}

func (a *apiServer) record() record { return parseRecord(a.secret().Annotations[recordAnnotation]) }

// exempt says whether somebody has to be trusted by the newest version.
func (a *apiServer) exempt(yes bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.log[len(a.log)-1].exempt.Store(yes)
}

func damageLeaf(s *corev1.Secret) { s.Data[keyKey] = []byte("junk") }
