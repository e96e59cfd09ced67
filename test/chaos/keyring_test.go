package chaos

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	certrotator "github.com/open-policy-agent/cert-controller/pkg/rotator"

	"sts-mutating-webhook/test/kit"
)

// The keys that both webhooks use in their Secret.
const (
	caCert = "ca.crt"
	caKey  = "ca.key"
	crt    = "tls.crt"
	key    = "tls.key"
)

// keyring is what a whole Secret holds. It is checked here by code of its own, so
// that a mistake in the webhook's check shows.
type keyring struct {
	// signer identifies the CA that signs: its certificate and its key.
	signer string
	// cas are the fingerprints of the trusted CAs, the signer first.
	cas []string
}

// inspect checks that the Secret's data is whole: a CA with its key, and a serving
// certificate for dnsName with its key that this CA has signed. Every other trusted
// CA verifies it too, by the certificates that come with it.
func inspect(data map[string][]byte, dnsName string) (keyring, error) {
	k := keyring{cas: fingerprints(string(data[caCert]))}
	signer, older := pem.Decode(data[caCert])
	if signer == nil {
		return k, errors.New("ca.crt holds no certificate")
	}
	first := pem.EncodeToMemory(signer)
	if _, err := tls.X509KeyPair(first, data[caKey]); err != nil {
		return k, fmt.Errorf("ca.key: %w", err)
	}
	pair, err := tls.X509KeyPair(data[crt], data[key])
	if err != nil {
		return k, fmt.Errorf("tls.key: %w", err)
	}
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), DNSName: dnsName}
	options.Roots.AppendCertsFromPEM(first)
	if _, err := pair.Leaf.Verify(options); err != nil {
		return k, fmt.Errorf("tls.crt: %w", err)
	}
	options.Intermediates = x509.NewCertPool()
	options.Intermediates.AppendCertsFromPEM(data[crt])
	for block, rest := pem.Decode(older); block != nil; block, rest = pem.Decode(rest) {
		options.Roots = x509.NewCertPool()
		options.Roots.AppendCertsFromPEM(pem.EncodeToMemory(block))
		if _, err := pair.Leaf.Verify(options); err != nil {
			return k, fmt.Errorf("tls.crt by an older CA: %w", err)
		}
	}
	sum := sha256.Sum256(append(first, data[caKey]...))
	k.signer = hex.EncodeToString(sum[:8])
	return k, nil
}

// fingerprints are short hashes of the certificates in a text.
func fingerprints(text string) []string {
	var all []string
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		sum := sha256.Sum256(block.Bytes)
		all = append(all, hex.EncodeToString(sum[:4]))
	}
	return all
}

// newKeyring returns the data of a Secret that is whole, with a CA of its own.
func newKeyring(dnsName string) (map[string][]byte, error) {
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

// foreign is the keyring of another cluster for the same name.
func (a *attempt) foreign() map[string][]byte {
	data, err := newKeyring(a.dnsName())
	a.must(err)
	return data
}

func TestInspect(t *testing.T) {
	const name = "a.b.svc"
	whole, err := newKeyring(name)
	kit.Must(t, err)
	other, err := newKeyring(name)
	kit.Must(t, err)
	with := func(changes map[string][]byte) map[string][]byte {
		data := maps.Clone(whole)
		maps.Copy(data, changes)
		return data
	}
	k, err := inspect(whole, name)
	if err != nil || len(k.cas) != 1 || k.signer == "" {
		t.Fatalf("a whole Secret: got %+v, %v", k, err)
	}
	for what, data := range map[string]map[string][]byte{
		"an empty Secret":                 nil,
		"junk for ca.crt":                 with(map[string][]byte{caCert: []byte("junk")}),
		"another CA's key":                with(map[string][]byte{caKey: other[caKey]}),
		"another certificate's key":       with(map[string][]byte{key: other[key]}),
		"a certificate of another CA":     with(map[string][]byte{crt: other[crt], key: other[key]}),
		"a truncated serving key":         with(map[string][]byte{key: whole[key][:len(whole[key])/2]}),
		"a CA that did not sign, with it": with(map[string][]byte{caCert: other[caCert], caKey: other[caKey]}),
		"an older CA without a bridge":    with(map[string][]byte{caCert: slices.Concat(whole[caCert], other[caCert])}),
	} {
		if _, err := inspect(data, name); err == nil {
			t.Errorf("%s is not whole, but was taken for it", what)
		}
	}
	if _, err := inspect(whole, "c.d.svc"); err == nil {
		t.Error("a certificate for another name was taken for whole")
	}
	rotating := with(map[string][]byte{
		caCert: slices.Concat(whole[caCert], other[caCert]), crt: slices.Concat(whole[crt], bridge(t, whole, other)),
	})
	if k2, err := inspect(rotating, name); err != nil || len(k2.cas) != 2 || k2.signer != k.signer {
		t.Errorf("a rotation under way: got %+v, %v; want 2 CAs and signer %s", k2, err, k.signer)
	}
}

// bridge is the CA of one keyring, signed by that of another.
func bridge(t *testing.T, of, by map[string][]byte) []byte {
	t.Helper()
	ca, err := tls.X509KeyPair(of[caCert], of[caKey])
	kit.Must(t, err)
	issuer, err := tls.X509KeyPair(by[caCert], by[caKey])
	kit.Must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, ca.Leaf, issuer.Leaf, ca.Leaf.PublicKey, issuer.PrivateKey)
	kit.Must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
