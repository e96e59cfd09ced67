package rotator

import (
	"bytes"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const testDNS = ServiceName + ".test.svc"

var (
	testPolicy = Policy{CADuration: 24 * time.Hour, CertDuration: time.Hour, CAOverlap: time.Hour, RotationCheck: time.Minute}
	testNow    = time.Now().UTC().Truncate(time.Second)
)

func testAuthority() authority {
	return New(Options{Namespace: "test", Policy: testPolicy, Log: logr.Discard()}).make
}

// Keys are slow to make, so the tests share these three states of one rotation
// and a foreign CA; nobody may change them.
var fixtures = sync.OnceValue(func() (f struct{ settled, staged, promoted, foreign *keyring }) {
	a := testAuthority()
	must := func(data map[string][]byte, err error) *keyring {
		if err != nil {
			panic(err)
		}
		k, err := parseKeyring(&corev1.Secret{Data: data}, testDNS)
		if err != nil {
			panic(err)
		}
		k.record = record{At: testNow}
		return k
	}
	f.settled = must(a.create(testNow))
	f.foreign = must(a.create(testNow))
	f.staged = must(a.data(f.settled, stepStage, testNow))
	f.promoted = must(a.data(f.staged, stepPromote, testNow))
	return f
})

// secretOf returns the Secret that holds k.
func secretOf(k *keyring) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: SecretName}}
	k.fill(s)
	return s
}

func TestARotationGoesFromOneCAToTheNext(t *testing.T) {
	f := fixtures()
	retired := func() *keyring {
		data, err := testAuthority().data(f.promoted, stepRetire, testNow)
		if err != nil {
			t.Fatal(err)
		}
		k, err := parseKeyring(&corev1.Secret{Data: data}, testDNS)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}()
	for _, c := range []struct {
		name        string
		from, to    *keyring
		step        step
		leafChanges bool
	}{
		{"stage keeps the signer and its leaf", f.settled, f.staged, stepStage, false},
		{"promote changes the signer and the leaf", f.staged, f.promoted, stepPromote, true},
		{"retire keeps the new signer and its leaf", f.promoted, retired, stepRetire, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var fresh ca
			if c.step == stepStage {
				fresh = *c.to.other
			}
			if want := c.from.ring.advance(c.step, fresh, time.Hour, testNow); !c.to.sameCAs(want) {
				t.Errorf("the Secret after %s holds %v staged=%v, the protocol asks for %v staged=%v", c.step, c.to.ids(), c.to.staged, want.ids(), want.staged)
			}
			if changed := !bytes.Equal(c.from.data[certKey], c.to.data[certKey]); changed != c.leafChanges {
				t.Errorf("leaf changed: %v, want %v", changed, c.leafChanges)
			}
			// Whoever holds the bundle before or after the step verifies both leaves, but for
			// the bundle before the staging and the one after the retirement.
			if !verifies(c.to.bundle(), c.to.leaf, testDNS, testNow) || !verifies(c.from.bundle(), c.to.leaf, testDNS, testNow) {
				t.Errorf("the leaf after %s is not verified by the bundles before and after it", c.step)
			}
		})
	}
	if verifies(retired.bundle(), f.settled.leaf, testDNS, testNow) {
		t.Error("the last bundle still verifies what the first CA signed")
	}
}

func TestParseKeyringNamesWhatIsWrong(t *testing.T) {
	f := fixtures()
	for name, c := range map[string]struct {
		from   *keyring
		change func(map[string][]byte)
		want   string
	}{
		"no data":                        {f.settled, func(d map[string][]byte) { clear(d) }, "empty"},
		"ca.crt removed":                 {f.settled, func(d map[string][]byte) { delete(d, caCertKey) }, "ca.crt: holds 0 certificates"},
		"ca.crt truncated":               {f.settled, func(d map[string][]byte) { d[caCertKey] = d[caCertKey][:200] }, "ca.crt: not a sequence of PEM"},
		"ca.crt with junk behind it":     {f.settled, func(d map[string][]byte) { d[caCertKey] = append(bytes.Clone(d[caCertKey]), "junk"...) }, "ca.crt: not a sequence of PEM"},
		"ca.crt with junk before it":     {f.settled, func(d map[string][]byte) { d[caCertKey] = append([]byte("junk\n"), d[caCertKey]...) }, "ca.crt: not a sequence of PEM"},
		"ca.crt holds the leaf":          {f.settled, func(d map[string][]byte) { d[caCertKey] = d[certKey] }, "ca.crt: certificate 1 is not a CA"},
		"ca.crt holds a key":             {f.settled, func(d map[string][]byte) { d[caCertKey] = d[caKeyKey] }, "ca.crt: not a sequence of PEM"},
		"ca.crt is another CA's":         {f.settled, func(d map[string][]byte) { d[caCertKey] = f.foreign.data[caCertKey] }, "ca.key: does not belong"},
		"ca.key removed":                 {f.settled, func(d map[string][]byte) { delete(d, caKeyKey) }, "ca.key: not a PEM key"},
		"ca.key swapped":                 {f.settled, func(d map[string][]byte) { d[caKeyKey] = f.foreign.data[caKeyKey] }, "ca.key: does not belong"},
		"ca.key holds a certificate":     {f.settled, func(d map[string][]byte) { d[caKeyKey] = d[caCertKey] }, "ca.key: not an RSA key"},
		"three CAs":                      {f.staged, func(d map[string][]byte) { d[caCertKey] = join(d[caCertKey], f.foreign.data[caCertKey]) }, "ca.crt: holds 3"},
		"next-ca.key without its CA":     {f.settled, func(d map[string][]byte) { d[nextKey] = f.staged.data[nextKey] }, "next-ca.key: present, but"},
		"next-ca.key swapped":            {f.staged, func(d map[string][]byte) { d[nextKey] = f.foreign.data[caKeyKey] }, "next-ca.key: does not belong"},
		"the order of the CAs exchanged": {f.staged, func(d map[string][]byte) { d[caCertKey] = f.promoted.data[caCertKey] }, "ca.key: does not belong"},
	} {
		t.Run(name, func(t *testing.T) {
			data := maps.Clone(c.from.data)
			c.change(data)
			_, err := parseKeyring(&corev1.Secret{Data: data}, testDNS)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestADamagedLeafIsNoDamageOfTheCA(t *testing.T) {
	f := fixtures()
	for name, change := range map[string]func(map[string][]byte){
		"tls.crt removed":       func(d map[string][]byte) { delete(d, certKey) },
		"tls.key removed":       func(d map[string][]byte) { delete(d, keyKey) },
		"tls.key swapped":       func(d map[string][]byte) { d[keyKey] = f.foreign.data[keyKey] },
		"tls.crt is junk":       func(d map[string][]byte) { d[certKey] = []byte("junk") },
		"a leaf of another CA":  func(d map[string][]byte) { d[certKey], d[keyKey] = f.foreign.data[certKey], f.foreign.data[keyKey] },
		"the CA in leaf's role": func(d map[string][]byte) { d[certKey], d[keyKey] = d[caCertKey], d[caKeyKey] },
	} {
		t.Run(name, func(t *testing.T) {
			data := maps.Clone(f.settled.data)
			change(data)
			k, err := parseKeyring(&corev1.Secret{Data: data}, testDNS)
			if err != nil {
				t.Fatalf("parse: %v", err)
			}
			if k.leaf != nil || k.leafProblem == nil {
				t.Error("the damaged leaf was accepted")
			}
		})
	}
	k, err := parseKeyring(&corev1.Secret{Data: f.settled.data}, "other.test.svc")
	if err != nil || k.leaf != nil {
		t.Errorf("a leaf for another name: keyring error %v, leaf accepted: %v", err, k.leaf != nil)
	}
}

func TestARecordCountsOnlyForTheCAsBesideIt(t *testing.T) {
	f := fixtures()
	secret := secretOf(f.settled)
	if k, err := parseKeyring(secret, testDNS); err != nil || !k.record.At.Equal(testNow) {
		t.Fatalf("record %+v (error %v), want the one written", k.record, err)
	}
	secret.Data = maps.Clone(f.foreign.data)
	if k, err := parseKeyring(secret, testDNS); err != nil || !k.record.At.IsZero() {
		t.Errorf("a foreign CA under an existing record has record %+v (error %v), want none", k.record, err)
	}
}

func TestFillLeavesForeignKeysAndAnnotationsAlone(t *testing.T) {
	f := fixtures()
	secret := secretOf(f.staged)
	secret.Data["theirs"] = []byte("x")
	secret.Annotations["theirs"] = "y"
	f.promoted.fill(secret)
	if string(secret.Data["theirs"]) != "x" || secret.Annotations["theirs"] != "y" {
		t.Error("a foreign key or annotation was lost")
	}
	if _, ok := secret.Data[nextKey]; ok {
		t.Error("the key of the promoted CA still stands under next-ca.key")
	}
}

func TestBundleIDsReadsAsAnAPIServerDoes(t *testing.T) {
	f := fixtures()
	junk := append([]byte("junk\n"), f.staged.bundle()...)
	if ids := bundleIDs(junk); len(ids) != 2 || ids[0] != f.staged.signer.id || ids[1] != f.staged.other.id {
		t.Errorf("ids %v, want those of both CAs", ids)
	}
	if ids := bundleIDs([]byte("garbage")); len(ids) != 0 {
		t.Errorf("garbage holds %v", ids)
	}
}

func FuzzParseKeyring(f *testing.F) {
	fix := fixtures()
	for _, k := range []*keyring{fix.settled, fix.staged, fix.promoted} {
		f.Add(k.data[caCertKey], k.data[caKeyKey], k.data[nextKey], k.data[certKey], k.data[keyKey], encode(k.record))
	}
	f.Add([]byte("x"), []byte(nil), []byte(nil), []byte(nil), []byte(nil), `{"at":1}`)
	f.Fuzz(func(t *testing.T, caCert, caKey, next, cert, key []byte, recordText string) {
		s := &corev1.Secret{Data: map[string][]byte{caCertKey: caCert, caKeyKey: caKey, nextKey: next, certKey: cert, keyKey: key}}
		s.Annotations = map[string]string{recordAnnotation: recordText}
		k, err := parseKeyring(s, testDNS)
		if err != nil {
			if bytes.Contains([]byte(err.Error()), []byte("PRIVATE")) {
				t.Errorf("the error shows a key: %v", err)
			}
			return
		}
		again := &corev1.Secret{}
		k.fill(again)
		if back, err := parseKeyring(again, testDNS); err != nil || !sameKeys(k, back) || !back.sameCAs(k.ring) {
			t.Errorf("an accepted keyring does not survive being written: %v", err)
		}
	})
}
