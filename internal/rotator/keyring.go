package rotator

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Keys of the certificate Secret's data.
const (
	caCertKey = "ca.crt"
	caKeyKey  = "ca.key"
	nextKey   = "next-ca.key"
	certKey   = "tls.crt"
	keyKey    = "tls.key"
)

// backdate is how far before its creation a certificate becomes valid, so that
// an apiserver whose clock is a little behind accepts it. The engine uses the
// same hour, and created times are derived from it.
const backdate = time.Hour

// keyring is a Secret whose every part was checked against the others.
// It is immutable once parsed.
type keyring struct {
	ring
	data map[string][]byte // the keys above, and no other
	leaf *tls.Certificate  // the serving certificate; nil when it is unusable
	// leafProblem says why leaf is nil.
	leafProblem error
}

// bundle is what belongs into the webhook configuration.
func (k *keyring) bundle() []byte { return k.data[caCertKey] }

// parseKeyring checks a Secret. The error names the first part that is missing
// or does not fit, never its content. A serving certificate that is missing,
// damaged or for another name is not an error of the keyring: its CA can make a
// new one; see leafProblem.
func parseKeyring(s *corev1.Secret, dnsName string) (*keyring, error) {
	k := &keyring{data: pick(s.Data)}
	if len(k.data) == 0 {
		return nil, errors.New("the Secret is empty")
	}
	cas, err := parseBundle(k.data[caCertKey])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", caCertKey, err)
	}
	if err := matches(k.data[caCertKey], k.data[caKeyKey]); err != nil {
		return nil, fmt.Errorf("%s: %w", caKeyKey, err)
	}
	k.signer = describe(cas[0])
	if len(cas) == 2 {
		other := describe(cas[1])
		k.other = &other
	}
	if next := k.data[nextKey]; len(next) > 0 {
		if len(cas) != 2 {
			return nil, fmt.Errorf("%s: present, but %s holds no second CA", nextKey, caCertKey)
		}
		if err := matches(encodeCert(cas[1]), next); err != nil {
			return nil, fmt.Errorf("%s: %w", nextKey, err)
		}
		k.staged = true
	}
	k.record = parseRecord(s.Annotations[recordAnnotation]).of(k.ids())
	k.leaf, k.leafProblem = parseLeaf(k.data, cas[0], dnsName)
	return k, nil
}

// parseBundle reads one or two CA certificates and nothing else.
func parseBundle(text []byte) ([]*x509.Certificate, error) {
	var cas []*x509.Certificate
	for rest := bytes.TrimSpace(text); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		block, tail := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" || !bytes.HasPrefix(rest, []byte("-----BEGIN")) {
			return nil, errors.New("not a sequence of PEM certificates")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificate %d: %w", len(cas)+1, err)
		}
		if !cert.IsCA {
			return nil, fmt.Errorf("certificate %d is not a CA", len(cas)+1)
		}
		cas, rest = append(cas, cert), tail
	}
	if len(cas) < 1 || len(cas) > 2 {
		return nil, fmt.Errorf("holds %d certificates, want 1 or 2", len(cas))
	}
	return cas, nil
}

// matches checks that key is the private key of the first certificate, in the
// only form that the engine reads: RSA, PKCS #1.
func matches(cert, key []byte) error {
	block, _ := pem.Decode(key)
	if block == nil {
		return errors.New("not a PEM key")
	}
	if _, err := x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
		return errors.New("not an RSA key in PKCS #1 form")
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		return errors.New("does not belong to its certificate")
	}
	return nil
}

// parseLeaf checks the serving certificate against its signer, whatever the
// time: an expired one is renewed, not repaired.
func parseLeaf(data map[string][]byte, signer *x509.Certificate, dnsName string) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(data[certKey], data[keyKey])
	if err != nil {
		return nil, fmt.Errorf("%s and %s are no pair", certKey, keyKey)
	}
	if err := pair.Leaf.CheckSignatureFrom(signer); err != nil {
		return nil, fmt.Errorf("%s is not signed by the first CA of %s", certKey, caCertKey)
	}
	if err := pair.Leaf.VerifyHostname(dnsName); err != nil {
		return nil, fmt.Errorf("%s is for another name: %w", certKey, err)
	}
	return &pair, nil
}

func describe(cert *x509.Certificate) ca {
	sum := sha256.Sum256(cert.Raw)
	return ca{id: hex.EncodeToString(sum[:]), created: cert.NotBefore.Add(backdate), expires: cert.NotAfter}
}

func encodeCert(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

// pick copies our keys and drops empty and foreign ones.
func pick(data map[string][]byte) map[string][]byte {
	out := map[string][]byte{}
	for _, key := range []string{caCertKey, caKeyKey, nextKey, certKey, keyKey} {
		if len(data[key]) > 0 {
			out[key] = bytes.Clone(data[key])
		}
	}
	return out
}

// fill makes secret hold k, and leaves every other key and annotation alone.
func (k *keyring) fill(secret *corev1.Secret) {
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	delete(secret.Data, nextKey)
	maps.Copy(secret.Data, k.data)
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	written := k.record
	written.CAs = k.ids()
	secret.Annotations[recordAnnotation] = encode(written)
}

// bundleIDs lists the CAs by which an apiserver that holds bundle verifies; it
// skips what is no certificate, as client-go does.
func bundleIDs(bundle []byte) []string {
	var ids []string
	for _, block := range splitPEM(bundle) {
		der, _ := pem.Decode(block)
		if cert, err := x509.ParseCertificate(der.Bytes); err == nil {
			ids = append(ids, describe(cert).id)
		}
	}
	return ids
}

// verifies reports whether an apiserver that holds bundle accepts leaf for
// dnsName at the given time. It reads bundle as client-go does: PEM blocks that
// are no certificates are skipped.
func verifies(bundle []byte, leaf *tls.Certificate, dnsName string, at time.Time) bool {
	if leaf == nil {
		return false
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return false
	}
	_, err := leaf.Leaf.Verify(x509.VerifyOptions{DNSName: dnsName, Roots: roots, CurrentTime: at})
	return err == nil
}
