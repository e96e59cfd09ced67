package chaos

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"testing"
	"time"

	certrotator "github.com/open-policy-agent/cert-controller/pkg/rotator"
)

// The keys that both webhooks use in their Secret.
const (
	caCert = "ca.crt"
	caKey  = "ca.key"
	crt    = "tls.crt"
	key    = "tls.key"
)

// keyring is what a whole Secret holds. It is judged here by code of its own,
// so that a mistake in the webhook's judgement shows.
type keyring struct {
	// signer identifies the CA that signs: its certificate and its key.
	signer string
	// cas is the number of trusted CAs.
	cas int
}

// inspect checks that the Secret's data is whole: a CA with its key, and a
// serving certificate for dnsName with its key that this CA has signed.
func inspect(data map[string][]byte, dnsName string) (keyring, error) {
	var k keyring
	signer, rest := pem.Decode(data[caCert])
	if signer == nil {
		return k, errors.New("ca.crt holds no certificate")
	}
	for block := signer; block != nil; block, rest = pem.Decode(rest) {
		k.cas++
	}
	first := pem.EncodeToMemory(signer)
	if _, err := tls.X509KeyPair(first, data[caKey]); err != nil {
		return k, fmt.Errorf("ca.key: %w", err)
	}
	pair, err := tls.X509KeyPair(data[crt], data[key])
	if err != nil {
		return k, fmt.Errorf("tls.key: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(first)
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: dnsName}); err != nil {
		return k, fmt.Errorf("tls.crt: %w", err)
	}
	sum := sha256.Sum256(append(first, data[caKey]...))
	k.signer = hex.EncodeToString(sum[:8])
	return k, nil
}

// foreign returns the data of a Secret that is whole, but of another CA.
func foreign(dnsName string) (map[string][]byte, error) {
	r := certrotator.CertRotator{
		CAName: "foreign-ca", CAOrganization: "foreign", DNSName: dnsName,
		ExtKeyUsages: &[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	begin, end := time.Now().Add(-time.Hour), time.Now().Add(365*24*time.Hour)
	ca, err := r.CreateCACert(begin, end)
	if err != nil {
		return nil, fmt.Errorf("create foreign CA: %w", err)
	}
	leaf, leafKey, err := r.CreateCertPEM(ca, begin, end)
	if err != nil {
		return nil, fmt.Errorf("create foreign certificate: %w", err)
	}
	return map[string][]byte{caCert: ca.CertPEM, caKey: ca.KeyPEM, crt: leaf, key: leafKey}, nil
}

func TestInspect(t *testing.T) {
	const name = "a.b.svc"
	whole, err := foreign(name)
	if err != nil {
		t.Fatal(err)
	}
	other, err := foreign(name)
	if err != nil {
		t.Fatal(err)
	}
	k, err := inspect(whole, name)
	if err != nil || k.cas != 1 || k.signer == "" {
		t.Fatalf("a whole Secret: got %+v, %v", k, err)
	}
	with := func(changes map[string][]byte) map[string][]byte {
		data := map[string][]byte{}
		for _, m := range []map[string][]byte{whole, changes} {
			for k, v := range m {
				data[k] = v
			}
		}
		return data
	}
	for what, data := range map[string]map[string][]byte{
		"an empty Secret":                 nil,
		"junk for ca.crt":                 with(map[string][]byte{caCert: []byte("junk")}),
		"another CA's key":                with(map[string][]byte{caKey: other[caKey]}),
		"another certificate's key":       with(map[string][]byte{key: other[key]}),
		"a certificate of another CA":     with(map[string][]byte{crt: other[crt], key: other[key]}),
		"a truncated serving key":         with(map[string][]byte{key: whole[key][:len(whole[key])/2]}),
		"a CA that did not sign, with it": with(map[string][]byte{caCert: other[caCert], caKey: other[caKey]}),
	} {
		if _, err := inspect(data, name); err == nil {
			t.Errorf("%s is not whole, but was taken for it", what)
		}
	}
	if _, err := inspect(whole, "c.d.svc"); err == nil {
		t.Error("a certificate for another name was taken for whole")
	}
	both := with(map[string][]byte{caCert: append(append([]byte{}, whole[caCert]...), other[caCert]...)})
	if k2, err := inspect(both, name); err != nil || k2.cas != 2 || k2.signer != k.signer {
		t.Errorf("a rotation under way: got %+v, %v; want 2 CAs and signer %s", k2, err, k.signer)
	}
}
