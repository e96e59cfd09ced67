package rotator

import (
	"bytes"
	"maps"
	"slices"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
)

// The flaws of the first edition (docs/decisions/0001-one-writer.md), each by the name
// of what must not come back. H1, H2 and M4 are stories of years_test.go and disturbed_test.go.

// otherCluster is a settled Secret and caBundle of an installation elsewhere.
func otherCluster(t *testing.T, generation uint32) (*corev1.Secret, *keyring) {
	i := newIssuer(defaults, ServiceName+".test.svc")
	k, err := i.after(nil, record{Generation: generation, Step: create}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := &corev1.Secret{}
	k.fill(s)
	return s, k
}

// sameSecret fails unless the Secret is what it was, to the byte.
func (f *fleet) sameSecret(before *corev1.Secret) {
	f.t.Helper()
	after := f.secret()
	if !maps.EqualFunc(before.Data, after.Data, bytes.Equal) || f.record().Request != parseRecord(before.Annotations[recordAnnotation]).Request {
		f.t.Error("the Secret is not what it was")
	}
}

func (f *fleet) signers() []string {
	var ids []string
	for _, p := range f.running() {
		ids = append(ids, p.memory.Load().trusted[0].id)
	}
	return ids
}

func TestH3ARequestIsCarriedOutOnceWhenEverItIsSeen(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.startAll(2)
		f.request(request{ID: "leaked", Distrust: true})
		f.settled()
		before := f.versions()
		f.request(request{ID: "leaked", Distrust: true}) // a GitOps tool applies it again
		time.Sleep(10 * time.Minute)
		f.atMost(0, before)
		if n := len(f.reported("CADistrusted")); n != 1 {
			t.Errorf("%d new CAs, want 1", n)
		}
	})
}

func TestH4AnotherClustersSecretWithALaterRecordIsNotAdopted(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.startAll(2)
		before, n := f.secret(), f.versions()
		other, _ := otherCluster(t, 7)
		f.put(secretPath, "velero", other)
		f.settled()
		f.sameSecret(before)
		f.atMost(1, n)
	})
}

func TestH5TwoInstallationsWithOneConfigurationNameLeaveEachOtherAlone(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		theirs := hook("elsewhere", ServiceName)
		theirs.ClientConfig.CABundle = []byte("theirs")
		f.put(configPath, "kubectl", &admissionv1.MutatingWebhookConfiguration{
			Webhooks: []admissionv1.MutatingWebhook{hook("test", ServiceName), theirs, hook("test", "other-service")},
		})
		f.startAll(2)
		f.request(request{ID: "rotate"})
		f.settled()
		after := f.config().Webhooks
		if !bytes.Equal(after[1].ClientConfig.CABundle, []byte("theirs")) || after[2].ClientConfig.CABundle != nil {
			t.Error("a caBundle of another Service was written")
		}
		f.atMost(3+2, 0)
	})
}

func TestM1ABackupFromBeforeADistrustIsNotUsedAfterARestart(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.startAll(2)
		backup, leaked := f.secret(), f.signers()[0]
		f.request(request{ID: "leaked", Distrust: true})
		f.settled()
		f.stopAll()
		f.put(secretPath, "velero", backup)
		f.forgive() // nobody remembers the CA of the caBundle
		f.startAll(2)
		f.settled()
		if slices.Contains(f.signers(), leaked) {
			t.Error("the distrusted CA signs again")
		}
	})
}

func TestM1AReplicaThatWasCutOffThroughADistrustDoesNotRestoreTheLeakedCA(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.startAll(2)
		cut, other, leaked := f.running()[0], f.running()[1], f.signers()[0]
		cut.link.cut(refused)
		time.Sleep(2 * time.Minute)
		f.request(request{ID: "leaked", Distrust: true})
		time.Sleep(10 * time.Second)
		f.stop(other)
		f.delete(secretPath)
		f.forgive()          // the only one that knew the new CA is gone
		cut.link.refuse(nil) // and nobody trusts this one until it has made a new CA
		f.settled()
		for _, ca := range bundleCAs(f.bundle()) {
			if fingerprint(ca) == leaked {
				t.Error("the distrusted CA is trusted again")
			}
		}
	})
}

func TestM2ARecordFromTheFutureStartsNoFight(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.startAll(2)
		n := f.versions()
		for _, ahead := range []uint32{1 << 30, 1 << 31, 1<<32 - 1} {
			f.editSecret("kubectl", func(s *corev1.Secret) {
				rec := parseRecord(s.Annotations[recordAnnotation])
				rec.Generation += ahead
				s.Annotations[recordAnnotation] = encode(rec)
			})
			f.settled()
		}
		f.request(request{ID: "rotate"})
		f.settled()
		f.atMost(3+2, n)
	})
}

func TestM3AStartingReplicaDoesNotMakeAForeignCATheFleets(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.startAll(1)
		before := f.secret()
		f.running()[0].link.lag = 2 * time.Second
		other, _ := otherCluster(t, 7)
		f.setBundle("kubectl", nil)
		f.put(secretPath, "velero", other)
		f.start()
		f.settled()
		f.sameSecret(before)
	})
}

func TestM5ARecordThatLostOneFieldIsRestoredAndNothingElseHappens(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.startAll(2)
		f.request(request{ID: "rotate"})
		f.settled()
		before, n := f.secret(), f.versions()
		f.editSecret("kubectl", func(s *corev1.Secret) {
			rec := parseRecord(s.Annotations[recordAnnotation])
			rec.Request = ""
			s.Annotations[recordAnnotation] = encode(rec)
		})
		f.settled()
		f.sameSecret(before)
		f.atMost(1, n)
	})
}

func TestM7ThePreviousCABundlePutBackStillVerifies(t *testing.T) {
	bubble(t, short.every(time.Hour), func(f *fleet) {
		f.startAll(2)
		old := f.bundle()
		for _, q := range []request{{ID: "rotated"}, {ID: "leaked", Distrust: true}} {
			f.request(q)
			time.Sleep(2 * day) // until the old CA is retired
			for _, p := range f.running() {
				p.link.refuse(writes(forbidden, configPath)) // it cannot be repaired
			}
			f.setBundle("kubectl", old)
			f.exempt(false)
			time.Sleep(time.Minute)
			f.trust.check()
			for _, p := range f.running() {
				p.link.heal()
			}
			f.settled()
		}
	})
}
