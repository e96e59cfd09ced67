package rotator

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
)

// setFollower stores the configuration that only follows, with a caBundle.
func (f *fleet) setFollower(bundle []byte) {
	mutating := hook("test", ServiceName)
	mutating.ClientConfig.CABundle = bundle
	f.put(followerPath, "kubectl", &admissionv1.ValidatingWebhookConfiguration{Webhooks: []admissionv1.ValidatingWebhook{{
		Name: mutating.Name, ClientConfig: mutating.ClientConfig,
	}}})
}

func (f *fleet) followerBundle() []byte {
	c := &admissionv1.ValidatingWebhookConfiguration{}
	f.object(followerPath, c)
	return c.Webhooks[0].ClientConfig.CABundle
}

// followed reports an error unless the second caBundle is the first one's.
func (f *fleet) followed(when string) {
	f.t.Helper()
	if got, want := f.followerBundle(), f.bundle(); !bytes.Equal(got, want) || len(want) == 0 {
		f.t.Errorf("%s the second caBundle has %d bytes, want the %d of the first one", when, len(got), len(want))
	}
}

func TestASecondConfigurationFollowsTheFirst(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.setFollower(nil)
		f.start()
		f.start()
		time.Sleep(5 * time.Second)
		f.followed("after the installation")
		f.request(request{ID: "1"})
		time.Sleep(5 * time.Second)
		f.followed("after a rotation")
		f.request(request{ID: "2", Distrust: true})
		time.Sleep(5 * time.Second)
		f.followed("after a distrust")
		_, foreign := otherCluster(t, 2)
		f.setFollower(foreign.bundle())
		time.Sleep(5 * time.Second)
		f.followed("after damage")
		if n := len(f.reported("CABundleRepaired")); n != 1 {
			t.Errorf("%d repairs were reported, want 1", n)
		}
		f.delete(followerPath)
		time.Sleep(time.Minute)
		f.setFollower(nil)
		time.Sleep(5 * time.Second)
		f.followed("after a new installation")
	})
}

// What stands in a configuration that only refuses mistakes must never lead to a new CA, which would refuse pods.
func TestASecondConfigurationDecidesNothing(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.setFollower(nil)
		f.start()
		time.Sleep(5 * time.Second)
		before := f.secret().Data[caCertKey]
		f.stopAll()
		_, foreign := otherCluster(t, 2)
		f.setFollower(foreign.bundle())
		f.start()
		f.start()
		time.Sleep(5 * time.Second)
		f.followed("after a start beside a foreign caBundle")
		if !bytes.Equal(f.secret().Data[caCertKey], before) {
			t.Error("there is a new CA")
		}
	})
}

// The manifests were applied with another namespace: ours are called by nobody, and leave the entries of the others alone.
func TestBothConfigurationsMayCallAnotherInstallation(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.setFollower(nil)
		f.startAll(2)
		theirs := hook("elsewhere", ServiceName)
		theirs.ClientConfig.CABundle = []byte("theirs")
		f.put(configPath, "kubectl", &admissionv1.MutatingWebhookConfiguration{Webhooks: []admissionv1.MutatingWebhook{theirs}})
		f.put(followerPath, "kubectl", &admissionv1.ValidatingWebhookConfiguration{Webhooks: []admissionv1.ValidatingWebhook{{
			Name: theirs.Name, ClientConfig: theirs.ClientConfig,
		}}})
		before := f.signers()[0]
		f.request(request{ID: "1"})
		time.Sleep(2 * time.Minute)
		if after := f.signers()[0]; after == before {
			t.Errorf("the CA is still %s: no rotation", after)
		}
		for when, got := range map[string][]byte{"first": f.config().Webhooks[0].ClientConfig.CABundle, "second": f.followerBundle()} {
			if string(got) != "theirs" {
				t.Errorf("the caBundle of another installation in the %s configuration: got %.40q, want what it wrote", when, got)
			}
		}
	})
}

func TestASecondConfigurationThatCannotBeReachedHoldsUpNothing(t *testing.T) {
	for name, broken := range map[string]fault{
		"not read":    only(forbidden, validatingPath, http.MethodGet),
		"not written": writes(forbidden, validatingPath),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, defaults, func(f *fleet) {
				f.setFollower(nil)
				p := f.start(func(p *replica, _ *Options) { p.link.refuse(broken) })
				time.Sleep(5 * time.Second)
				if err := p.Ready(); err != nil {
					t.Errorf("not Ready: %v", err)
				}
				first := p.memory.Load().trusted[0].id
				f.request(request{ID: "1"})
				time.Sleep(5 * time.Second)
				if now := p.memory.Load(); now.trusted[0].id == first || !bytes.Equal(f.bundle(), now.bundle()) {
					t.Error("no rotation")
				}
				time.Sleep(time.Minute)
				if n := len(p.logged("ValidatingWebhookConfiguration", "forbidden")); n == 0 || n > 5 {
					t.Errorf("%d lines say what is wrong, want a few", n)
				}
				p.link.heal()
				time.Sleep(2 * time.Minute)
				f.followed("when it can be reached again")
			})
		})
	}
}
