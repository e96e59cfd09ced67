package rotator

import (
	"bytes"
	"maps"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestTheGuardLetsTheEngineRenewTheLeaf(t *testing.T) {
	f, all := readyFleet(t, 1)
	before := f.secret()
	f.renewAll(all)
	after := f.secret()
	if bytes.Equal(before.Data[certKey], after.Data[certKey]) || !bytes.Equal(before.Data[caCertKey], after.Data[caCertKey]) {
		t.Error("want a new leaf and the same CA")
	}
	if !f.reported("CertificateRenewed") {
		t.Error("the renewal was not reported")
	}
}

func TestTheGuardNeverLetsTheEngineReplaceAValidCA(t *testing.T) {
	f, all := readyFleet(t, 1)
	before := f.secret()
	rekeyed := f.secret()
	rekeyed.Data = maps.Clone(fixtures().foreign.data)
	if err := f.guardOf(all[0]).Update(t.Context(), rekeyed); err != nil {
		t.Fatalf("the engine would log this at error level: %v", err)
	}
	if !sameData(before, f.secret()) {
		t.Error("the engine's new CA was written")
	}
}

func TestTheGuardLetsTheEngineReplaceAnExpiredCA(t *testing.T) {
	f, all := readyFleet(t, 1)
	f.now = f.now.Add(testPolicy.CADuration + time.Second)
	rekeyed := f.secret()
	rekeyed.Data = maps.Clone(fixtures().foreign.data)
	if err := f.guardOf(all[0]).Update(t.Context(), rekeyed); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(f.secret().Data[caCertKey], fixtures().foreign.data[caCertKey]) {
		t.Fatal("the new CA was not written")
	}
	if at := parseRecord(f.secret().Annotations[recordAnnotation]).At; !at.Equal(f.now) {
		t.Errorf("recorded at %s, want %s: else the other replicas would take it for older", at, f.now)
	}
}

func TestTheGuardAnswersALostRaceAsDone(t *testing.T) {
	f, all := readyFleet(t, 1)
	stale := f.secret()
	f.change(func(s *corev1.Secret) { s.Annotations["touched"] = "yes" })
	f.renewed(all[0], stale)
	if err := f.guardOf(all[0]).Update(t.Context(), stale); err != nil {
		t.Errorf("a conflict reached the engine, which logs it at error level: %v", err)
	}
}

func (f *fleet) renewed(r *Rotator, s *corev1.Secret) {
	f.t.Helper()
	signer, err := artifacts(s.Data[caCertKey], s.Data[caKeyKey])
	if err != nil {
		f.t.Fatal(err)
	}
	if err := r.make.sign(s.Data, signer, f.now); err != nil {
		f.t.Fatal(err)
	}
}

func TestTheGuardRefusesToRenewByAWrongClock(t *testing.T) {
	f, all := readyFleet(t, 1)
	before := f.secret()
	all[0].clock.skew.Store(int64(-time.Hour))
	wanted := f.secret()
	f.renewed(all[0], wanted)
	if err := f.guardOf(all[0]).Update(t.Context(), wanted); err != nil {
		t.Fatal(err)
	}
	if !sameData(before, f.secret()) {
		t.Error("renewed with a wrong clock")
	}
}

func TestTheGuardInjectsWhatTheFleetRemembers(t *testing.T) {
	f, all := readyFleet(t, 1)
	want := f.secret().Data[caCertKey]
	for name, damage := range map[string][]byte{
		causeBundleEmptied: nil, causeBundleDamaged: []byte("garbage"), causeBundleReplaced: fixtures().foreign.bundle(),
	} {
		t.Run(name, func(t *testing.T) {
			f.t = t
			if err := f.client.Update(t.Context(), f.engineView(damage)); err != nil {
				t.Fatal(err)
			}
			f.events = nil
			f.inject(all[0], fixtures().foreign.bundle()) // the engine read a Secret that was overruled
			if !bytes.Equal(f.bundle(), want) {
				t.Error("the caBundle is not the fleet's")
			}
			if !f.reported("BundleRepaired") {
				t.Errorf("events %+v, want a repair", f.events)
			}
		})
	}
}

func TestTheGuardInjectsANewerKeyringThatItHasNotSeenYet(t *testing.T) {
	f, all := readyFleet(t, 2)
	f.change(func(s *corev1.Secret) {
		s.Annotations[requestAnnotation] = encode(request{RotateAt: f.now.Add(time.Second)})
	})
	f.now = f.now.Add(2 * time.Second)
	f.pass(all[0]) // stages; the other replica has not looked yet
	f.inject(all[0], nil)
	f.inject(all[1], nil)
	if ids := bundleIDs(f.bundle()); len(ids) != 2 {
		t.Error("a replica that was behind took the staged CA out of the caBundle")
	}
}

func TestTheGuardInjectsAStepThatTheEngineSawFirst(t *testing.T) {
	f, all := readyFleet(t, 2)
	f.change(func(s *corev1.Secret) {
		s.Annotations[requestAnnotation] = encode(request{RotateAt: f.now.Add(time.Second)})
	})
	f.now = f.now.Add(2 * time.Second)
	f.pass(all[0])
	f.inject(all[1], f.secret().Data[caCertKey]) // its loop still remembers the keyring before the step
	if !bytes.Equal(f.bundle(), f.secret().Data[caCertKey]) {
		t.Error("the staged CA was not injected, and no event will follow")
	}
}

func TestTheLoopInjectsWhenTheEngineDoesNot(t *testing.T) {
	f, all := readyFleet(t, 1)
	want := f.bundle()
	if err := f.client.Update(t.Context(), f.engineView(nil)); err != nil {
		t.Fatal(err)
	}
	if wait := f.pass(all[0]); wait > engineHeadStart {
		t.Errorf("looks again after %s, want %s", wait, engineHeadStart)
	}
	if len(f.bundle()) > 0 {
		t.Error("the engine got no chance: the fleet would write twice for each event")
	}
	f.now = f.now.Add(engineHeadStart)
	f.pass(all[0])
	if !bytes.Equal(f.bundle(), want) {
		t.Error("the caBundle was not repaired without the engine")
	}
}

func TestTheGuardDoesNotWriteWhatIsThereAlready(t *testing.T) {
	f, all := readyFleet(t, 1)
	view := f.engineView(f.bundle())
	version := view.GetResourceVersion()
	f.events = nil
	f.inject(all[0], f.bundle())
	if now := f.engineView(nil).GetResourceVersion(); now != version || len(f.events) > 0 {
		t.Errorf("resourceVersion %s -> %s, events %+v: want no write", version, now, f.events)
	}
}
