package rotator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"

	certrotator "github.com/open-policy-agent/cert-controller/pkg/rotator"
	corev1 "k8s.io/api/core/v1"
)

// backdate is how long before its making a certificate becomes valid, for
// apiservers whose clocks are behind.
const backdate = time.Hour

// Policy holds the durations of the protocol. All must be positive; there are no
// zero-value defaults.
type Policy struct {
	CADuration    time.Duration // life of a CA; replaced at 2/3 of it
	CertDuration  time.Duration // life of a serving certificate, at most its CA's; renewed at 2/3 of it
	CAOverlap     time.Duration // how long the CA before stays trusted
	RotationCheck time.Duration // how often both objects are read live though no watch event came
}

// Validate reports every duration that would break a promise, with the reason.
func (p Policy) Validate() error {
	var errs []error
	check := func(ok bool, flag string, value time.Duration, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s=%s: "+format, append([]any{flag, value}, args...)...))
		}
	}
	check(p.CADuration > 0, "--ca-duration", p.CADuration, "must be positive")
	check(p.CertDuration > 0, "--cert-duration", p.CertDuration, "must be positive")
	check(p.CAOverlap > 0, "--ca-overlap", p.CAOverlap, "must be positive")
	check(p.RotationCheck > 0, "--rotation-check", p.RotationCheck, "must be positive")
	if errs != nil {
		return errors.Join(errs...)
	}
	check(p.CertDuration <= p.CADuration, "--cert-duration", p.CertDuration,
		"must be at most --ca-duration=%s: a certificate cannot outlive its CA", p.CADuration)
	check(p.CAOverlap <= p.CADuration/3, "--ca-overlap", p.CAOverlap,
		"must be at most %s, a third of --ca-duration=%s: a CA is replaced in the last third of its life, and ends with it", p.CADuration/3, p.CADuration)
	check(p.RotationCheck <= p.CertDuration/6, "--rotation-check", p.RotationCheck,
		"must be at most %s, a sixth of --cert-duration=%s: a certificate is renewed in the last third of its life, and two checks must fall into it", p.CertDuration/6, p.CertDuration)
	return errors.Join(errs...)
}

// issuer makes certificates.
type issuer struct {
	policy  Policy
	dnsName string
	format  int                     // of the records
	maker   certrotator.CertRotator // of every CA
}

func newIssuer(p Policy, dnsName string) issuer {
	return issuer{p, dnsName, ownFormat(), certrotator.CertRotator{CAName: caName, CAOrganization: ServiceName}}
}

// after returns what follows k by the step of rec; k is nil for create. The result
// was checked like a Secret that somebody else wrote.
func (i issuer) after(k *keyring, rec record, now time.Time) (*keyring, error) {
	data, trusted := map[string][]byte{}, []*x509.Certificate(nil)
	if k != nil {
		data, trusted = maps.Clone(k.data), k.cas
	}
	rec.Format = i.format
	step, err := rec.Step, error(nil)
	switch step {
	case create, rotate, distrust:
		trusted, err = i.newCA(data, k, step == rotate, now)
	case retire:
		trusted = trusted[:1]
	case renew:
		err = i.newLeaf(data, k.cas[0], validAt(k.bridges, now), now)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", step, err)
	}
	data[caCertKey] = nil
	for _, cert := range trusted {
		data[caCertKey] = append(data[caCertKey], encodePEM("CERTIFICATE", cert.Raw)...)
		rec.Trusted = append(rec.Trusted, fingerprint(cert))
	}
	secret := &corev1.Secret{Data: data}
	secret.Annotations = map[string]string{recordAnnotation: encode(rec)}
	next, err := parseKeyring(secret, i.dnsName)
	if err == nil && next.serving == nil && step != restore { // renew comes next
		err = next.parseServing(i.dnsName)
	}
	if err != nil {
		return nil, fmt.Errorf("check the keyring after %s: %w", step, err)
	}
	return next, nil
}

// newCA puts a new CA and its leaf into data and returns whom to trust. The CA
// before it, if there is one, signs the new CA's key as well: by that bridge
// whoever trusts the old CA alone verifies the new leaf.
func (i issuer) newCA(data map[string][]byte, k *keyring, keepOld bool, now time.Time) ([]*x509.Certificate, error) {
	made, err := i.maker.CreateCACert(now.Add(-backdate), now.Add(i.policy.CADuration))
	if err != nil {
		return nil, fmt.Errorf("create CA: %w", err)
	}
	data[caKeyKey] = made.KeyPEM
	trusted := []*x509.Certificate{made.Cert}
	var bridges []*x509.Certificate
	if k != nil {
		if bridges, err = i.bridge(made.Cert, k, now); err != nil {
			return nil, err
		}
		for _, old := range k.cas {
			if keepOld && len(trusted) <= maxOldCAs && valid(old, now) {
				trusted = append(trusted, old)
			}
		}
	}
	return trusted, i.newLeaf(data, made.Cert, bridges, now)
}

// bridge returns k's bridges behind a new one, which certifies the key of fresh
// by the CA that signs in k. If that CA has expired no client verifies the bridge,
// but the other replicas still see by it that fresh comes after what they remember.
func (i issuer) bridge(fresh *x509.Certificate, k *keyring, now time.Time) ([]*x509.Certificate, error) {
	old := k.cas[0]
	by, err := signer(old, k.data[caKeyKey])
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: fresh.Subject, SubjectKeyId: fresh.SubjectKeyId,
		NotBefore: old.NotBefore, NotAfter: earlier(fresh.NotAfter, old.NotAfter),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, old, fresh.PublicKey, by.Key)
	if err != nil {
		return nil, fmt.Errorf("create bridge: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse bridge: %w", err)
	}
	return append([]*x509.Certificate{cert}, validAt(k.bridges, now)...), nil
}

// newLeaf puts a serving certificate by the CA of data[ca.key] into data. Its key
// is ECDSA P-256: a handshake costs less than half of one with RSA.
func (i issuer) newLeaf(data map[string][]byte, issuedBy *x509.Certificate, bridges []*x509.Certificate, now time.Time) error {
	by, err := signer(issuedBy, data[caKeyKey])
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("create serving key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: i.dnsName}, DNSNames: []string{i.dnsName},
		NotBefore: now.Add(-backdate), NotAfter: earlier(now.Add(i.policy.CertDuration), issuedBy.NotAfter),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuedBy, key.Public(), by.Key)
	if err != nil {
		return fmt.Errorf("create serving certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode serving key: %w", err)
	}
	data[certKey], data[keyKey] = encodePEM("CERTIFICATE", der), encodePEM("PRIVATE KEY", keyDER)
	for _, bridge := range bridges[:min(len(bridges), maxBridges)] {
		data[certKey] = append(data[certKey], encodePEM("CERTIFICATE", bridge.Raw)...)
	}
	return nil
}

func validAt(certs []*x509.Certificate, now time.Time) []*x509.Certificate {
	return slices.DeleteFunc(slices.Clone(certs), func(c *x509.Certificate) bool { return !valid(c, now) })
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // crypto/rand.Reader never fails
	}
	return n
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
