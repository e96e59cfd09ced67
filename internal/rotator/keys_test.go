package rotator

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	certrotator "github.com/open-policy-agent/cert-controller/pkg/rotator"
	corev1 "k8s.io/api/core/v1"
)

const testDNS = ServiceName + ".test.svc"

var (
	issuePolicy = Policy{CADuration: 90 * time.Hour, CertDuration: 12 * time.Hour, CAOverlap: time.Hour, RotationCheck: time.Minute}
	testIssuer  = newIssuer(issuePolicy, testDNS)
)

// issued takes a step from k, an hour after noon for each hour.
func issued(k *keyring, step kind, hours int) *keyring {
	generation := uint32(1)
	if k != nil {
		generation = k.record.Generation + 1
	}
	next, err := testIssuer.after(k, record{Generation: generation, Step: step}, noon.Add(time.Duration(hours)*time.Hour))
	if err != nil {
		panic(err)
	}
	return next
}

// CAs are slow to make, so the tests share these; nobody may change them.
var keyrings = sync.OnceValue(func() (k struct {
	first, foreign, renewed       *keyring
	rotated, twice, thrice, fifth *keyring
	retired, distrusted           *keyring
}) {
	k.first, k.foreign = issued(nil, create, 0), issued(nil, create, 0)
	k.renewed = issued(k.first, renew, 1)
	k.rotated, k.distrusted = issued(k.first, rotate, 1), issued(k.first, distrust, 1)
	k.retired = issued(k.rotated, retire, 2)
	k.twice = issued(k.rotated, rotate, 2)
	k.thrice = issued(k.twice, rotate, 3)
	k.fifth = issued(issued(k.thrice, rotate, 4), rotate, 5)
	return k
})

func TestAChainIsVerifiedByWhoeverTrustsACABeforeIt(t *testing.T) {
	k := keyrings()
	without := *k.rotated.serving // no bridge
	without.Certificate = without.Certificate[:1]
	bare := *k.rotated
	bare.serving = &without
	for name, c := range map[string]struct {
		roots, serves *keyring
		want          bool
	}{
		"one rotation: OLD":                    {k.first, k.rotated, true},
		"one rotation: NEW and OLD":            {k.rotated, k.rotated, true},
		"one rotation: NEW":                    {k.retired, k.rotated, true},
		"NEW and OLD verify the old leaf":      {k.rotated, k.first, true},
		"NEW does not verify the old leaf":     {k.retired, k.first, false},
		"a distrust: OLD":                      {k.first, k.distrusted, true},
		"a distrust: NEW":                      {k.distrusted, k.distrusted, true},
		"foreign roots":                        {k.foreign, k.rotated, false},
		"OLD without the bridge":               {k.first, &bare, false},
		"NEW without the bridge":               {k.retired, &bare, true},
		"two rotations in a row: the first":    {k.first, k.twice, true},
		"two rotations in a row: the second":   {k.retired, k.twice, true},
		"three rotations in a row: the first":  {k.first, k.thrice, true},
		"three rotations in a row: the second": {k.retired, k.thrice, true},
		"five rotations in a row: the first":   {k.first, k.fifth, false},
		"a renewal keeps the CA":               {k.first, k.renewed, true},
		"a retirement keeps leaf and bridge":   {k.first, k.retired, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := verifies(c.roots.bundle(), c.serves.serving, testDNS, noon.Add(6*time.Hour)); got != c.want {
				t.Errorf("verified: %v, want %v", got, c.want)
			}
		})
	}
	if verifies(k.first.bundle(), k.first.serving, "other.test.svc", noon) || verifies(k.first.bundle(), nil, testDNS, noon) {
		t.Error("another name, or no certificate at all, is verified")
	}
}

func TestAKeyringIsCertifiedByTheCAsBeforeIt(t *testing.T) {
	k := keyrings()
	for name, c := range map[string]struct {
		later, earlier *keyring
		want           bool
	}{
		"itself":                 {k.first, k.first, true},
		"a rotation":             {k.rotated, k.first, true},
		"a distrust":             {k.distrusted, k.first, true},
		"three in a row":         {k.thrice, k.first, true},
		"a foreign one":          {k.foreign, k.first, false},
		"not the other way":      {k.first, k.distrusted, false},
		"siblings":               {k.distrusted, k.retired, false},
		"too many in a row":      {k.fifth, k.first, false},
		"the old CA still there": {k.first, k.rotated, true},
	} {
		if got := c.later.certifiedBy(c.earlier.cas); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if k.first.certifiedBy(nil) {
		t.Error("nobody certifies it")
	}
}

func TestNoMoreThanThreeOldCAsAndBridgesAreKept(t *testing.T) {
	k := keyrings()
	for name, c := range map[string]struct {
		k            *keyring
		cas, bridges int
	}{
		"at first": {k.first, 1, 0}, "rotated": {k.rotated, 2, 1}, "twice": {k.twice, 3, 2}, "three times": {k.thrice, 4, 3},
		"five times": {k.fifth, 1 + maxOldCAs, maxBridges}, "retired": {k.retired, 1, 1}, "distrusted": {k.distrusted, 1, 1},
	} {
		if len(c.k.cas) != c.cas || len(c.k.bridges) != c.bridges {
			t.Errorf("%s: %d CAs and %d bridges, want %d and %d", name, len(c.k.cas), len(c.k.bridges), c.cas, c.bridges)
		}
	}
}

func TestWhatHasEndedIsDropped(t *testing.T) {
	k := keyrings()
	if late := issued(k.rotated, renew, 90); len(late.bridges) != 0 {
		t.Errorf("%d bridges by a CA that has ended, want none", len(late.bridges))
	}
	if late := issued(k.rotated, rotate, 90); len(late.cas) != 2 || len(late.bridges) != 1 {
		t.Errorf("%d CAs and %d bridges after a rotation at the first CA's end, want 2 and 1", len(late.cas), len(late.bridges))
	}
	if late := issued(k.first, rotate, 91); len(late.cas) != 1 || len(late.bridges) != 1 {
		t.Errorf("%d CAs and %d bridges after the only CA's end, want 1 and 1, for descent", len(late.cas), len(late.bridges))
	}
	if leaf := issued(k.first, renew, 85).serving.Leaf; leaf.NotAfter.After(k.first.cas[0].NotAfter) {
		t.Errorf("the leaf ends at %s, after its CA", leaf.NotAfter)
	}
}

func TestCertControllerAcceptsTheECDSALeafAndItsBridges(t *testing.T) {
	k := keyrings().thrice
	if _, ok := k.serving.PrivateKey.(*ecdsa.PrivateKey); !ok {
		t.Fatalf("the serving key is a %T, want ECDSA", k.serving.PrivateKey)
	}
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	ok, err := certrotator.ValidCert(k.data[caCertKey], k.data[certKey], k.data[keyKey], testDNS, &usages, noon.Add(4*time.Hour))
	if !ok || err != nil {
		t.Errorf("ValidCert: %v, %v", ok, err)
	}
}

func TestASecretOfCertControllerItselfIsGeneration0(t *testing.T) {
	maker := certrotator.CertRotator{CAName: caName, CAOrganization: ServiceName, DNSName: testDNS, ExtKeyUsages: &[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	made, err := maker.CreateCACert(noon, noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := maker.CreateCertPEM(made, noon, noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	k, err := parseKeyring(&corev1.Secret{Data: map[string][]byte{caCertKey: made.CertPEM, caKeyKey: made.KeyPEM, certKey: cert, keyKey: key}}, testDNS)
	if err != nil {
		t.Fatal(err)
	}
	if k.record.Generation != 0 || k.serving == nil || !k.hasLeaf() || len(k.bridges) != 0 {
		t.Errorf("generation %d, serving %v, %d bridges", k.record.Generation, k.serving != nil, len(k.bridges))
	}
	if next := issued(k, rotate, 0); !verifies(k.bundle(), next.serving, testDNS, noon) || next.record.Generation != 1 {
		t.Error("a rotation does not continue it")
	}
}

func TestFillLeavesForeignKeysAndAnnotationsAlone(t *testing.T) {
	k := keyrings()
	secret := secretOf(k.first)
	secret.Data["theirs"], secret.Annotations["theirs"] = []byte("x"), "y"
	k.rotated.fill(secret)
	if string(secret.Data["theirs"]) != "x" || secret.Annotations["theirs"] != "y" {
		t.Error("a foreign key or annotation was lost")
	}
	if back, err := parseKeyring(secret, testDNS); err != nil || back.digest != k.rotated.digest {
		t.Errorf("what was filled in is read as another keyring (error %v)", err)
	}
}

// secretOf returns a Secret that holds k.
func secretOf(k *keyring) *corev1.Secret {
	s := &corev1.Secret{}
	k.fill(s)
	s.Data = maps.Clone(s.Data)
	return s
}

func TestBundleCAsReadsAsAnAPIServerDoes(t *testing.T) {
	k := keyrings().rotated
	junk := bytes.Join([][]byte{[]byte("junk\n"), k.bundle(), k.data[caKeyKey], []byte("more junk")}, nil)
	if cas := bundleCAs(junk); len(cas) != 2 || !cas[0].Equal(k.cas[0]) || !cas[1].Equal(k.cas[1]) {
		t.Errorf("%d CAs, want both", len(cas))
	}
	if cas := bundleCAs([]byte("junk")); len(cas) != 0 {
		t.Errorf("junk holds %d CAs", len(cas))
	}
	if strings.Contains(string(k.bundle()), "PRIVATE") {
		t.Error("the caBundle holds a key")
	}
}
