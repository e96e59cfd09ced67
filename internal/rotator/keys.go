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

	certrotator "github.com/open-policy-agent/cert-controller/pkg/rotator"
	corev1 "k8s.io/api/core/v1"
)

// Keys of the certificate Secret's data.
const (
	caCertKey = "ca.crt"
	caKeyKey  = "ca.key"
	certKey   = "tls.crt"
	keyKey    = "tls.key"
)

var dataKeys = []string{caCertKey, caKeyKey, certKey, keyKey}

// caName is the common name and the DNS name of every CA.
const caName = ServiceName + "-ca"

const (
	maxOldCAs  = 3 // trusted beside the one that signs
	maxBridges = 3 // sent with the serving certificate
)

// keyring is the content of a Secret whose every part was checked against the
// others. It is immutable.
type keyring struct {
	summary
	data    map[string][]byte // dataKeys, and no other
	text    string            // the record, as it stands on the Secret
	cas     []*x509.Certificate
	bridges []*x509.Certificate // each certifies the key of one CA for those who trust the CA before it
	serving *tls.Certificate    // leaf and bridges; nil when the leaf is missing or damaged
}

// bundle is what belongs into the webhook configurations.
func (k *keyring) bundle() []byte { return k.data[caCertKey] }

// parseKeyring checks a Secret. The error names the first part that is missing
// or does not fit, never its content. A serving certificate that does not fit is
// no error: its CA can make a new one.
func parseKeyring(s *corev1.Secret, dnsName string) (*keyring, error) {
	k := &keyring{data: pick(s.Data), text: s.Annotations[recordAnnotation]}
	if len(k.data) == 0 {
		return nil, errors.New("the Secret is empty")
	}
	cas, err := parseCAs(k.data[caCertKey])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", caCertKey, err)
	}
	k.cas = cas
	if _, err := signer(k.cas[0], k.data[caKeyKey]); err != nil {
		return nil, err
	}
	if err := k.parseServing(dnsName); err == nil {
		k.leafCreated, k.leafExpires = k.serving.Leaf.NotBefore.Add(backdate), k.serving.Leaf.NotAfter
	}
	for _, cert := range k.cas {
		k.trusted = append(k.trusted, ca{id: fingerprint(cert), created: cert.NotBefore.Add(backdate), expires: cert.NotAfter})
	}
	k.record = parseRecord(k.text)
	sum := sha256.New()
	for _, key := range dataKeys {
		fmt.Fprintf(sum, "%s %d\n%s\n", key, len(k.data[key]), k.data[key])
	}
	sum.Write([]byte(k.text))
	k.digest = hex.EncodeToString(sum.Sum(nil))
	return k, nil
}

// parseCAs reads CA certificates and nothing else.
func parseCAs(text []byte) ([]*x509.Certificate, error) {
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
	if len(cas) < 1 || len(cas) > 1+maxOldCAs {
		return nil, fmt.Errorf("holds %d certificates, want 1 to %d", len(cas), 1+maxOldCAs)
	}
	return cas, nil
}

// signer is the CA in cert-controller's form, if key is its private key.
func signer(cert *x509.Certificate, key []byte) (*certrotator.KeyPairArtifacts, error) {
	certPEM := encodePEM("CERTIFICATE", cert.Raw)
	if _, err := certrotator.ValidCert(certPEM, certPEM, key, caName, nil, cert.NotBefore); err != nil {
		return nil, fmt.Errorf("%s is not the key of a CA named %s: %w", caKeyKey, caName, err)
	}
	block, _ := pem.Decode(key)
	parsed, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s is not an RSA key in PKCS #1 form", caKeyKey)
	}
	return &certrotator.KeyPairArtifacts{Cert: cert, Key: parsed, CertPEM: certPEM, KeyPEM: key}, nil
}

// parseServing checks the serving certificate against its CA, whatever the time:
// one that has ended is renewed, not repaired.
func (k *keyring) parseServing(dnsName string) error {
	pair, err := tls.X509KeyPair(k.data[certKey], k.data[keyKey])
	if err != nil {
		return fmt.Errorf("%s and %s are no pair", certKey, keyKey)
	}
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if _, err := certrotator.ValidCert(k.data[caCertKey], k.data[certKey], k.data[keyKey], dnsName, &usages, pair.Leaf.NotAfter); err != nil {
		return fmt.Errorf("%s: %w", certKey, err)
	}
	for _, der := range pair.Certificate[1:] {
		bridge, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%s: parse bridge: %w", certKey, err)
		}
		k.bridges = append(k.bridges, bridge)
	}
	k.serving = &pair
	return nil
}

// certifiedBy reports whether whoever trusts these CAs has reason to trust the CA
// that signs: it is one of them, or bridges lead from one of them to it. Time does
// not matter here: it is a question of descent.
func (k *keyring) certifiedBy(cas []*x509.Certificate) bool {
	for _, c := range cas {
		if c.Equal(k.cas[0]) {
			return true
		}
	}
	known := append([]*x509.Certificate{}, cas...)
	for range k.bridges { // each round may reach one bridge further
		for _, bridge := range k.bridges {
			for _, issuer := range known {
				if bridge.CheckSignatureFrom(issuer) == nil {
					if bytes.Equal(bridge.RawSubjectPublicKeyInfo, k.cas[0].RawSubjectPublicKeyInfo) {
						return true
					}
					known = append(known, bridge)
					break
				}
			}
		}
	}
	return false
}

// verifies reports whether an apiserver that holds bundle accepts cert for
// dnsName at the given time.
func verifies(bundle []byte, cert *tls.Certificate, dnsName string, at time.Time) bool {
	if cert == nil {
		return false
	}
	roots, bridges := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	for _, der := range cert.Certificate[1:] {
		if bridge, err := x509.ParseCertificate(der); err == nil {
			bridges.AddCert(bridge)
		}
	}
	_, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: dnsName, Roots: roots, Intermediates: bridges, CurrentTime: at})
	return err == nil
}

// bundleCAs reads a caBundle as client-go does: what is no certificate is skipped.
func bundleCAs(bundle []byte) []*x509.Certificate {
	var cas []*x509.Certificate
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			return cas
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			cas = append(cas, cert)
		}
	}
}

// fill makes secret hold k, and leaves every other key and annotation alone.
func (k *keyring) fill(secret *corev1.Secret) {
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	for _, key := range dataKeys {
		delete(secret.Data, key)
	}
	maps.Copy(secret.Data, k.data)
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	secret.Annotations[recordAnnotation] = k.text
}

func valid(cert *x509.Certificate, now time.Time) bool {
	return !now.Before(cert.NotBefore) && now.Before(cert.NotAfter)
}

func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// pick copies our keys and drops empty and foreign ones.
func pick(data map[string][]byte) map[string][]byte {
	out := map[string][]byte{}
	for _, key := range dataKeys {
		if len(data[key]) > 0 {
			out[key] = bytes.Clone(data[key])
		}
	}
	return out
}
