package rotator

import (
	"bytes"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestTheFirstStartMakesOneCAForAllReplicas(t *testing.T) {
	for name, objects := range map[string][]client.Object{
		"an empty Secret":  {emptySecret(), configuration(nil)},
		"no Secret at all": {configuration(nil)},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleetOf(t, objects...)
			a, b := f.rotator(), f.rotator()
			if a.Ready() == nil {
				t.Error("ready before anything happened")
			}
			f.pass(a)
			first := f.secret()
			f.pass(b)
			if !sameData(first, f.secret()) {
				t.Error("the second replica replaced the first one's CA")
			}
			if err := a.Ready(); err == nil {
				t.Error("ready although the configuration has no caBundle")
			}
			f.inject(b, nil)
			for _, r := range []*Rotator{a, b} {
				f.pass(r)
				if err := r.Ready(); err != nil {
					t.Errorf("not ready: %v", err)
				}
			}
		})
	}
}

func TestReadinessNeedsAListenerThatTheCABundleVerifies(t *testing.T) {
	f, all := readyFleet(t, 1)
	other := f.rotator()
	other.proof = "127.0.0.1:1" // nobody listens
	f.pass(other)
	if err := other.Ready(); err == nil || !strings.Contains(err.Error(), "handshake with own listener 127.0.0.1:1") {
		t.Errorf("readiness without a listener: %v", err)
	}
	if all[0].Ready() != nil {
		t.Error("the ready replica lost its readiness")
	}
}

func TestADamagedSecretIsRestoredToTheSameKeys(t *testing.T) {
	foreign := fixtures().foreign
	for name, c := range map[string]struct {
		cause  string
		damage func(*corev1.Secret)
	}{
		"data removed":        {causeEmptied, func(s *corev1.Secret) { s.Data = nil }},
		"ca.crt removed":      {causeDamaged, func(s *corev1.Secret) { delete(s.Data, caCertKey) }},
		"ca.key removed":      {causeDamaged, func(s *corev1.Secret) { delete(s.Data, caKeyKey) }},
		"tls.crt removed":     {causeDamaged, func(s *corev1.Secret) { delete(s.Data, certKey) }},
		"tls.key removed":     {causeDamaged, func(s *corev1.Secret) { delete(s.Data, keyKey) }},
		"tls.key swapped":     {causeDamaged, func(s *corev1.Secret) { s.Data[keyKey] = foreign.data[keyKey] }},
		"PEM truncated":       {causeDamaged, func(s *corev1.Secret) { s.Data[caCertKey] = s.Data[caCertKey][:99] }},
		"a foreign CA":        {causeReplaced, func(s *corev1.Secret) { s.Data = maps.Clone(foreign.data) }},
		"the record is wiped": {causeReplaced, func(s *corev1.Secret) { delete(s.Annotations, recordAnnotation) }},
	} {
		t.Run(name, func(t *testing.T) {
			f, all := readyFleet(t, 2)
			before := f.secret()
			f.change(c.damage)
			f.pass(all[1])
			if after := f.secret(); !sameData(before, after) || after.Annotations[recordAnnotation] != before.Annotations[recordAnnotation] {
				t.Fatal("not restored to the same keys and record")
			}
			version := f.secret().ResourceVersion
			f.pass(all[0])
			f.pass(all[1])
			if f.secret().ResourceVersion != version {
				t.Error("a restored Secret was written again")
			}
			if !f.reported("SecretRestored") || !strings.Contains(f.events[len(f.events)-1].Message, c.cause) {
				t.Errorf("events %+v, want one of cause %s", f.events, c.cause)
			}
		})
	}
}

func TestADeletedSecretIsCreatedFromMemory(t *testing.T) {
	f, all := readyFleet(t, 2)
	before := f.secret()
	if err := f.client.Delete(t.Context(), f.secret()); err != nil {
		t.Fatal(err)
	}
	f.pass(all[0])
	f.pass(all[1])
	if !sameData(before, f.secret()) {
		t.Error("not restored to the same keys")
	}
}

func TestAReplicaThatStartsBesideADamagedSecretWaitsForItsPeers(t *testing.T) {
	f, all := readyFleet(t, 1)
	before := f.secret()
	f.change(func(s *corev1.Secret) { s.Data = maps.Clone(fixtures().foreign.data) })
	late := f.rotator()
	if wait := f.pass(late); wait <= 0 || wait > graceForPeers {
		t.Errorf("waits %s, want up to %s", wait, graceForPeers)
	}
	if late.memory.Load() != nil {
		t.Fatal("it believed a CA that the caBundle does not know")
	}
	f.pass(all[0])
	f.pass(late)
	if !sameData(before, f.secret()) || late.Ready() != nil {
		t.Errorf("after the repair: restored %v, ready %v", sameData(before, f.secret()), late.Ready())
	}
}

func TestWhenNobodyRemembersTheSecretsCAIsTakenAfterTheGrace(t *testing.T) {
	foreign := fixtures().foreign
	f := newFleetOf(t, secretOf(foreign), configuration(fixtures().settled.bundle()))
	r := f.rotator()
	f.pass(r)
	f.now = f.now.Add(graceForPeers)
	f.pass(r)
	if m := r.memory.Load(); m == nil || m.signer.id != foreign.signer.id || !m.record.At.After(foreign.record.At) {
		t.Fatal("the Secret's CA was not taken with a new record")
	}
	f.inject(r, nil)
	f.pass(r)
	if err := r.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

func TestAPlannedRotationTakesThreeStepsAndServesOnlyWhatIsTrusted(t *testing.T) {
	f, all := readyFleet(t, 2)
	r := all[0]
	old := r.serving.Load()
	f.now = f.now.Add(16 * time.Hour) // two thirds of 24 h
	f.renewAll(all)

	f.pass(r)
	if k := r.memory.Load(); !k.staged {
		t.Fatal("no CA was staged at two thirds of the life")
	}
	f.inject(r, nil)
	f.pass(r)
	f.now = f.now.Add(testPolicy.CAOverlap)
	f.pass(r) // promote
	promoted := r.memory.Load()
	if promoted.staged || promoted.other == nil {
		t.Fatal("not promoted after the overlap")
	}
	f.pass(r)
	if now := r.serving.Load(); now == old || !verifies(f.bundle(), now, r.DNSName(), f.now) {
		t.Error("the promoted leaf is not served, or not trusted")
	}
	f.inject(r, nil)
	f.pass(r)
	f.now = f.now.Add(testPolicy.CAOverlap)
	f.pass(r)
	if k := r.memory.Load(); k.other != nil || k.signer.id != promoted.signer.id {
		t.Error("the old CA is still trusted after another overlap")
	}
	f.inject(r, nil)
	f.pass(all[1])
	if k := all[1].memory.Load(); k.signer.id != promoted.signer.id {
		t.Error("the other replica did not follow")
	}
}

// renewAll plays the engine's renewal of leaves that have run out meanwhile.
func (f *fleet) renewAll(all []*Rotator) {
	f.t.Helper()
	r := all[0]
	k := r.memory.Load()
	signer, err := artifacts(k.bundle(), k.data[caKeyKey])
	if err != nil {
		f.t.Fatal(err)
	}
	s := f.secret()
	if err := r.make.sign(s.Data, signer, f.now); err != nil {
		f.t.Fatal(err)
	}
	if err := f.guardOf(r).Update(f.t.Context(), s); err != nil {
		f.t.Fatal(err)
	}
	for _, r := range all {
		f.pass(r)
	}
}

func TestAWrongClockRefusesToRotateAndKeepsServing(t *testing.T) {
	f, all := readyFleet(t, 1)
	r := all[0]
	before := f.secret()
	r.clock.observe(f.now.Add(-10*time.Minute).UTC().Format(http.TimeFormat), f.now) // we are 10 min ahead
	f.change(func(s *corev1.Secret) {
		s.Annotations[requestAnnotation] = encode(request{RotateAt: f.now.Add(time.Minute)})
	})
	f.pass(r)
	if !sameData(before, f.secret()) {
		t.Error("rotated with a wrong clock")
	}
	if !f.reported("ClockSkew") || r.clock.Skew() != 10*time.Minute {
		t.Errorf("events %+v, skew %s", f.events, r.clock.Skew())
	}
	if cert, err := r.GetCertificate(nil); err != nil || cert == nil || r.Ready() != nil {
		t.Errorf("stopped serving: %v, %v", err, r.Ready())
	}
	f.change(func(s *corev1.Secret) { s.Data = nil })
	f.pass(r)
	if !sameData(before, f.secret()) {
		t.Error("a wrong clock must not hinder a repair")
	}
	r.clock.observe(f.now.UTC().Format(http.TimeFormat), f.now)
	f.pass(r)
	if !f.reported("ClockRight") || sameData(before, f.secret()) {
		t.Error("rotation did not go on when the clock was right again")
	}
}

func TestARequestThatCannotBeReadStopsNothing(t *testing.T) {
	f, all := readyFleet(t, 1)
	f.change(func(s *corev1.Secret) { s.Annotations[requestAnnotation] = "now please" })
	f.pass(all[0])
	if bytes.Contains([]byte(encode(all[0].memory.Load().record)), []byte("stage")) {
		t.Error("an unreadable request staged a CA")
	}
}

func TestAPromotionWaitsUntilTheCABundleHasHeldTheNewCA(t *testing.T) {
	f, all := readyFleet(t, 1)
	r := all[0]
	f.change(func(s *corev1.Secret) {
		s.Annotations[requestAnnotation] = encode(request{RotateAt: f.now.Add(time.Second)})
	})
	f.now = f.now.Add(2 * time.Second)
	f.pass(r) // stages
	f.now = f.now.Add(testPolicy.CAOverlap)
	f.pass(r)
	if !r.memory.Load().staged {
		t.Fatal("promoted a CA that no caBundle holds")
	}
	f.inject(r, nil)
	f.pass(r)
	if !r.memory.Load().staged {
		t.Fatal("promoted a CA that the caBundle has held for no time")
	}
	f.now = f.now.Add(settleTime)
	f.pass(r)
	if r.memory.Load().staged {
		t.Error("not promoted although the caBundle has held the new CA for long enough")
	}
}
