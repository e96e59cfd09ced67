package rotator

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
)

// Rule 8: a failed handshake is a refused pod, and the apiserver waits five seconds.
func TestAHandshakeWaitsForTheFirstCertificate(t *testing.T) {
	for name, c := range map[string]struct {
		comes time.Duration
		ok    bool
	}{
		"it comes in time":  {3900 * time.Millisecond, true},
		"it comes too late": {4100 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, k := otherCluster(t, 1)
				r := New(Options{Namespace: "test", Policy: defaults})
				ours, theirs := net.Pipe()
				defer ours.Close()
				defer theirs.Close()
				done := make(chan error, 1)
				go func() {
					done <- tls.Server(ours, &tls.Config{GetCertificate: r.GetCertificate, SessionTicketsDisabled: true}).Handshake()
				}()
				go func() { _ = tls.Client(theirs, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
				time.Sleep(c.comes)
				r.serving.Store(k.serving)
				close(r.served)
				if err := <-done; (err == nil) != c.ok {
					t.Errorf("handshake: %v", err)
				}
			})
		})
	}
}

// Rule 8: while the caBundle does not verify the new chain, the one before goes on.
func TestTheCertificateBeforeGoesOnUntilTheCABundleVerifiesTheNewOne(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.startAll(1)
		r := f.running()[0]
		before := r.serving.Load()
		_, foreign := otherCluster(t, 2)
		r.memory.Store(foreign)
		if r.serve(f.bundle()) != true || r.serving.Load() != before {
			t.Error("a chain that the caBundle does not verify is served")
		}
		if r.serve(foreign.bundle()) != true || r.serving.Load() != foreign.serving {
			t.Error("a chain that the caBundle verifies is not served")
		}
		f.forgive()
	})
}

// Rule 9: a fleet that turns NotReady together only loses its endpoints too.
func TestReadinessIsAProofAndThenLatched(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		deaf := f.start(func(_ *replica, o *Options) { o.Dial = noListener })
		f.start()
		time.Sleep(time.Minute)
		if err := deaf.Ready(); err == nil || !strings.Contains(err.Error(), "connect to own listener: nobody listens") {
			t.Errorf("a replica without a listener: Ready is %v", err)
		}
		f.stop(deaf)
		f.running()[0].link.cut(refused)
		time.Sleep(time.Minute)
		if err := f.running()[0].Ready(); err != nil {
			t.Errorf("without the apiserver not Ready any more: %v", err)
		}
		f.running()[0].link.heal()
		time.Sleep(time.Minute)
		config := f.config()
		f.delete(configPath)
		time.Sleep(time.Minute)
		if err := f.running()[0].Ready(); err != nil {
			t.Errorf("not Ready any more: %v", err)
		}
		if lost := f.reported("TrustLost"); len(lost) != 1 || !strings.Contains(lost[0], "apply the manifests again") {
			t.Errorf("TrustLost: %q", lost)
		}
		f.put(configPath, "kubectl", config)
		f.settled()
		if n := len(f.reported("TrustRestored")); n != 1 {
			t.Errorf("TrustRestored was reported %d times, want once", n)
		}
	})
}

// Rule 10, M8: what keeps a starting replica from the apiserver is said within five
// seconds, said again when it changes, and not repeated.
func TestAStartingReplicaSaysWhyItCannotReachTheAPIServer(t *testing.T) {
	for name, c := range map[string]struct {
		broken fault
		object string
		cause  string
	}{
		"refused":                     {refused, configurations[0].String(), "connection refused"},
		"forbidden":                   {only(forbidden, secretsPath, http.MethodGet), "Secret test/" + SecretName, "no RBAC rule allows it"},
		"forbidden the configuration": {only(forbidden, configsPath, http.MethodGet), configurations[0].String(), "no RBAC rule allows it"},
		"no answer":                   {hanging, configurations[0].String(), "context deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, defaults, func(f *fleet) {
				p := f.start(func(p *replica, _ *Options) { p.link.cut(c.broken) })
				time.Sleep(5 * time.Second)
				for _, want := range []string{"10.0.0.1", c.object, c.cause} {
					if err := p.Ready(); err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("Ready is %v, want it to name %s", err, want)
					}
				}
				if n := len(p.logged(cannotRead.message, "10.0.0.1", c.object, c.cause)); n != 1 {
					t.Errorf("%d lines name the address, the object and the cause, want 1", n)
				}
				time.Sleep(10 * time.Minute)
				if n := len(p.logged(cannotRead.message)); n != 1 {
					t.Errorf("%d lines after ten minutes, want 1", n)
				}
				p.link.cut(etcdFull)
				time.Sleep(15 * time.Second)
				if n := len(p.logged(cannotRead.message, "database space exceeded")); n != 1 {
					t.Errorf("%d lines about the new cause, want 1", n)
				}
				p.link.heal()
				time.Sleep(time.Minute)
				f.settled()
				if n := len(p.logged("resolved", cannotRead.message)); n != 1 {
					t.Errorf("%d lines say that it is over, want 1", n)
				}
			})
		})
	}
}

// Rule 10: refused writes are said once, are an event after three, and overdue until done.
func TestRefusedWritesAreSaidOnceAndOverdueUntilDone(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.startAll(1)
		p := f.running()[0]
		p.link.refuse(writes(forbidden, secretPath))
		f.editSecret("kubectl", damageLeaf)
		time.Sleep(2500 * time.Millisecond) // two tries
		if n := len(f.reported("WriteRefused")); n != 0 {
			t.Errorf("WriteRefused was reported %d times after two tries", n)
		}
		time.Sleep(10 * time.Minute)
		for reason, want := range map[string]int{"WriteRefused": 1, "WriteSucceeded": 0} {
			if n := len(f.reported(reason)); n != want {
				t.Errorf("%s was reported %d times, want %d", reason, n, want)
			}
		}
		if n := len(p.logged(cannotWrite.message, SecretName, "no RBAC rule allows it")); n != 1 {
			t.Errorf("%d lines, want 1", n)
		}
		if overdue := p.gauge("sts_webhook_rotation_overdue_seconds"); overdue < 600 || overdue > 610 {
			t.Errorf("overdue for %v s, want ten minutes", overdue)
		}
		p.link.heal()
		f.settled()
		if n, overdue := len(f.reported("WriteSucceeded")), p.gauge("sts_webhook_rotation_overdue_seconds"); n != 1 || overdue != 0 {
			t.Errorf("in the end: WriteSucceeded %d times, overdue %v s", n, overdue)
		}
	})
}

// Rule 10: one object that cannot be written does not hold up the other one.
func TestARefusedSecretDoesNotHoldUpTheCABundle(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.startAll(1)
		bundle := f.bundle()
		f.running()[0].link.refuse(writes(forbidden, secretPath))
		f.editSecret("kubectl", damageLeaf)
		time.Sleep(time.Minute)
		f.setBundle("kubectl", []byte("junk"))
		time.Sleep(100 * time.Millisecond)
		if !bytes.Equal(f.bundle(), bundle) {
			t.Error("the caBundle was not repaired")
		}
		f.running()[0].link.heal()
		f.settled()
	})
}

// A write whose answer is lost was perhaps done; it must not be done twice.
func TestAWriteWhoseAnswerIsLostIsNotDoneTwice(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.startAll(2)
		before := f.versions()
		for _, p := range f.running() {
			p.link.refuse(writes(p.link.lostAnswer, "/"))
		}
		f.request(request{ID: "rotate"})
		time.Sleep(time.Minute)
		healAll(f)
		f.settled()
		f.atMost(2, before)
	})
}

// Rule 11: one alert with a count and the culprit.
func TestARepairThatRecursIsReportedOnceWithTheFieldManager(t *testing.T) {
	for name, c := range map[string]struct {
		what   string
		damage func(f *fleet)
	}{
		"the caBundle": {configurations[0].String(), func(f *fleet) { f.setBundle("argocd", []byte("junk")) }},
		"the Secret":   {SecretName, func(f *fleet) { f.editSecret("argocd", damageLeaf) }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, defaults, func(f *fleet) {
				f.startAll(1)
				for range 8 {
					c.damage(f)
					time.Sleep(time.Minute)
				}
				recurs := f.reported("RepairRecurs")
				if len(recurs) != 1 || !strings.Contains(recurs[0], `"argocd"`) || !strings.Contains(recurs[0], c.what) || !strings.Contains(recurs[0], "3 times") {
					t.Errorf("RepairRecurs: %q", recurs)
				}
				if single := append(f.reported("CABundleRepaired"), f.reported("SecretRestored")...); len(single) != 2 {
					t.Errorf("%d repairs were reported on their own, want the two before", len(single))
				}
				if ended := f.reported(ReasonRepairsEnded); len(ended) != 0 {
					t.Errorf("the end was reported too early: %q", ended)
				}
				time.Sleep(recursWithin + time.Minute)
				f.settled()
				if ended := f.reported(ReasonRepairsEnded); len(ended) != 1 || !strings.Contains(ended[0], c.what) {
					t.Errorf("RepairsEnded: %q, want one about %s", ended, c.what)
				}
			})
		})
	}
}

// Rule 12: what this build cannot read is not damaged, it is newer.
func TestASecretOfANewerFormatIsLeftAlone(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.startAll(2)
		before := f.running()[0].serving.Load()
		f.editSecret("sts-webhook", func(s *corev1.Secret) {
			s.Data = map[string][]byte{"keyring.json": []byte("{}"), caCertKey: []byte("of another form")}
			s.Annotations[recordAnnotation] = `{"format":2,"generation":9,"step":"split","trusted":{"of":"another form"}}`
		})
		n := f.versions()
		time.Sleep(10 * time.Minute)
		f.atMost(0, n)
		for _, p := range f.running() {
			if p.serving.Load() != before && p.serving.Load() == nil {
				t.Errorf("%s stopped serving", p.name)
			}
			if n := len(p.logged(newerFormat.message)); n != 1 {
				t.Errorf("%s says %d times that it leaves the Secret alone, want once", p.name, n)
			}
		}
	})
}

// Two replicas, each in doubt, may have only one first CA.
func TestTheFirstStartMakesOneCAForAllReplicas(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.startAll(3)
		f.settled()
		f.atMost(3, 0) // an empty Secret, its content, the caBundle
		if n := len(f.reported("CACreated")); n != 1 {
			t.Errorf("%d CAs were made, want 1", n)
		}
		for _, p := range f.running() {
			for _, seen := range p.link.seen {
				if collection := strings.TrimPrefix(seen, "GET "); collection == secretsPath+"/other" || collection == configsPath+"/other" {
					t.Errorf("%s asked for what is not ours: %s", p.name, seen)
				}
			}
		}
	})
}

// The manifests may be applied after the replicas are there.
func TestTheConfigurationMayComeLater(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.delete(configPath)
		f.startAll(2)
		f.put(configPath, "kubectl", &admissionv1.MutatingWebhookConfiguration{Webhooks: []admissionv1.MutatingWebhook{hook("test", ServiceName)}})
		f.settled()
		f.atMost(3, 0)
	})
}

func noListener(context.Context) (net.Conn, error) { return nil, errors.New("nobody listens") }
