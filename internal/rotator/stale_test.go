package rotator

import (
	"context"
	"crypto/tls"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// freeze makes r's cache stand still: it answers from a copy of the cluster as it
// is now.
func (f *fleet) freeze(r *Rotator) {
	f.t.Helper()
	copies := []client.Object{}
	for _, obj := range []client.Object{emptySecret(), configuration(nil)} {
		if err := f.client.Get(f.t.Context(), client.ObjectKeyFromObject(obj), obj); err == nil {
			copies = append(copies, obj)
		}
	}
	r.cached = newFleetOf(f.t, copies...).client
}

func TestTheFirstKeyringIsNotChosenByAStaleView(t *testing.T) {
	f := newFleetOf(t, emptySecret(), configuration(nil))
	first, late := f.rotator(), f.rotator()
	f.freeze(late)
	f.pass(first)
	f.inject(first, nil)
	f.pass(late)
	if m := late.memory.Load(); m == nil || m.signer.id != first.memory.Load().signer.id {
		t.Error("a replica whose cache is behind did not take the CA that exists")
	}
}

// brokenWatch is a cache whose watch of the Secret stands still.
type brokenWatch struct {
	client.Reader // of the configuration
	secrets       client.Reader
}

func (b brokenWatch) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if _, ok := obj.(*corev1.Secret); ok {
		return b.secrets.Get(ctx, key, obj, opts...)
	}
	return b.Reader.Get(ctx, key, obj, opts...)
}

func TestAReplicaThatIsNoLongerTrustedReadsTheSecretLive(t *testing.T) {
	f, all := readyFleet(t, 2)
	behind := all[1]
	f.freeze(behind)
	behind.cached = brokenWatch{Reader: f.client, secrets: behind.cached}
	f.change(func(s *corev1.Secret) {
		s.Annotations[requestAnnotation] = encode(request{DistrustBefore: f.now.Add(time.Second)})
	})
	for range 6 { // the other replica replaces the CA within seconds
		f.now = f.now.Add(2 * time.Second)
		f.pass(all[0])
		f.inject(all[0], nil)
		f.pass(all[0])
	}
	wait := f.pass(behind)
	if behind.serving.Load().Leaf.Equal(all[0].serving.Load().Leaf) {
		t.Fatal("its cache is not behind: the test shows nothing")
	}
	if wait > time.Second {
		t.Errorf("looks again after %s, want within a second", wait)
	}
	f.pass(behind)
	if !behind.serving.Load().Leaf.Equal(all[0].serving.Load().Leaf) {
		t.Error("still serves what nobody trusts")
	}
}

func TestAPromotionReadsTheCABundleLive(t *testing.T) {
	f, all := readyFleet(t, 1)
	r := all[0]
	f.change(func(s *corev1.Secret) {
		s.Annotations[requestAnnotation] = encode(request{RotateAt: f.now.Add(time.Second)})
	})
	f.now = f.now.Add(2 * time.Second)
	f.pass(r)
	f.inject(r, nil)
	f.pass(r)
	f.freeze(r)
	if err := f.client.Update(t.Context(), f.engineView(nil)); err != nil { // unseen by r
		t.Fatal(err)
	}
	f.now = f.now.Add(testPolicy.CAOverlap)
	f.pass(r)
	if !r.memory.Load().staged {
		t.Error("promoted while the caBundle is empty, by a cache that is behind")
	}
}

func TestChooseServesOnlyWhatTheCABundleVerifies(t *testing.T) {
	x := fixtures()
	for name, c := range map[string]struct {
		current, candidate *keyring
		bundle             []byte
		at                 time.Time
		want               *keyring
	}{
		"the first, trusted":                      {nil, x.settled, x.settled.bundle(), testNow, x.settled},
		"the first, not trusted yet":              {nil, x.settled, nil, testNow, nil},
		"another one, trusted":                    {x.settled, x.promoted, x.staged.bundle(), testNow, x.promoted},
		"another one that the bundle lacks":       {x.settled, x.promoted, x.settled.bundle(), testNow, x.settled},
		"a foreign one, and the bundle was wiped": {x.settled, x.foreign, nil, testNow, x.settled},
		"an expired one":                          {x.settled, x.promoted, x.staged.bundle(), testNow.Add(2 * testPolicy.CertDuration), x.settled},
	} {
		t.Run(name, func(t *testing.T) {
			got, want := choose(leafOf(c.current), leafOf(c.candidate), c.bundle, testDNS, c.at), leafOf(c.want)
			if (got == nil) != (want == nil) || got != nil && !sameLeaf(got, want) {
				t.Error("not the certificate that it should serve")
			}
		})
	}
}

func leafOf(k *keyring) *tls.Certificate {
	if k == nil {
		return nil
	}
	return k.leaf
}

var errSecretMissing = apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, SecretName)

func TestTheEngineStartsOnceAKeyringIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known := make(chan struct{})
		starts := 0
		g := &gated{known: known, Runnable: manager.RunnableFunc(func(ctx context.Context) error {
			starts++
			if starts == 1 {
				return errSecretMissing
			}
			<-ctx.Done()
			return nil
		})}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Start(ctx) }()
		synctest.Wait()
		if starts != 0 {
			t.Fatal("started before a keyring was known")
		}
		close(known)
		time.Sleep(time.Second) // of the bubble
		synctest.Wait()
		if starts != 2 {
			t.Errorf("started %d times, want 2: again after the Secret was missing", starts)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Start: %v", err)
		}
	})
}
