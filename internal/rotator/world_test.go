package rotator

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// fleet is an apiserver in memory and some rotators on it, without their engine:
// a test plays the engine through the guard. It proves logic; behaviour is proven
// on a real cluster under test/.
type fleet struct {
	t      *testing.T
	client client.WithWatch
	now    time.Time
	events []Event
}

func newFleetOf(t *testing.T, objects ...client.Object) *fleet {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, admissionv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return &fleet{t: t, now: testNow, client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()}
}

func emptySecret() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: SecretName}}
}

func configuration(bundle []byte) *admissionv1.MutatingWebhookConfiguration {
	return &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: ConfigurationName},
		Webhooks: []admissionv1.MutatingWebhook{{Name: "sts-webhook.test.svc", ClientConfig: admissionv1.WebhookClientConfig{
			Service:  &admissionv1.ServiceReference{Namespace: "test", Name: ServiceName},
			CABundle: bundle,
		}}},
	}
}

// rotator starts one with a real TLS listener, so that its readiness is a real proof.
func (f *fleet) rotator() *Rotator {
	r := New(Options{
		Namespace: "test", Policy: testPolicy, Log: logr.Discard(),
		Now:    func() time.Time { return f.now },
		Report: func(e Event) { f.events = append(f.events, e) },
	})
	r.client, r.live, r.cached = f.client, f.client, f.client
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	r.proof = listener.Addr().String()
	served := tls.NewListener(listener, &tls.Config{GetCertificate: r.GetCertificate, MinVersion: tls.VersionTLS13})
	go func() {
		for {
			conn, err := served.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
	}()
	f.t.Cleanup(func() { _ = listener.Close() })
	return r
}

// pass runs r's loop once.
func (f *fleet) pass(r *Rotator) time.Duration {
	f.t.Helper()
	wait, err := r.reconcile(f.t.Context())
	if err != nil {
		f.t.Fatalf("reconcile: %v", err)
	}
	return wait
}

// inject plays the engine: it read the configuration and wants this bundle in it.
func (f *fleet) inject(r *Rotator, read []byte) {
	f.t.Helper()
	if err := f.guardOf(r).Update(f.t.Context(), f.engineView(read)); err != nil {
		f.t.Fatalf("inject: %v", err)
	}
}

func (f *fleet) guardOf(r *Rotator) *guard { return &guard{Client: f.client, rotator: r} }

func (f *fleet) engineView(bundle []byte) *unstructured.Unstructured {
	f.t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration"))
	if err := f.client.Get(f.t.Context(), client.ObjectKey{Name: ConfigurationName}, u); err != nil {
		f.t.Fatal(err)
	}
	if err := setBundles(u, bundle); err != nil {
		f.t.Fatal(err)
	}
	return u
}

func (f *fleet) secret() *corev1.Secret {
	f.t.Helper()
	var s corev1.Secret
	if err := f.client.Get(f.t.Context(), client.ObjectKeyFromObject(emptySecret()), &s); err != nil {
		f.t.Fatal(err)
	}
	return &s
}

func (f *fleet) bundle() []byte {
	f.t.Helper()
	var c admissionv1.MutatingWebhookConfiguration
	if err := f.client.Get(f.t.Context(), client.ObjectKey{Name: ConfigurationName}, &c); err != nil {
		f.t.Fatal(err)
	}
	return c.Webhooks[0].ClientConfig.CABundle
}

// change edits the Secret from outside.
func (f *fleet) change(edit func(*corev1.Secret)) {
	f.t.Helper()
	s := f.secret()
	edit(s)
	if err := f.client.Update(context.Background(), s); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) reported(reason string) bool {
	for _, e := range f.events {
		if e.Reason == reason {
			return true
		}
	}
	return false
}

// ready returns a fleet whose rotators all are Ready.
func readyFleet(t *testing.T, n int) (*fleet, []*Rotator) {
	f := newFleetOf(t, emptySecret(), configuration(nil))
	var all []*Rotator
	for range n {
		all = append(all, f.rotator())
	}
	f.pass(all[0])
	f.inject(all[0], nil)
	for _, r := range all {
		f.pass(r)
		if err := r.Ready(); err != nil {
			t.Fatalf("not ready: %v", err)
		}
	}
	return f, all
}

func sameData(a, b *corev1.Secret) bool {
	for _, key := range []string{caCertKey, caKeyKey, nextKey, certKey, keyKey} {
		if !bytes.Equal(a.Data[key], b.Data[key]) {
			return false
		}
	}
	return true
}
