package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificateLife bounds how long a cluster can be kept; it is far beyond use.
const certificateLife = 10 * 365 * 24 * time.Hour

// authority signs every certificate of one cluster.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// subject is what a certificate says about its holder.
type subject struct {
	// file is the base name of the files NAME.crt and NAME.key.
	file string
	// user and groups are what Kubernetes authenticates a client as.
	user   string
	groups []string
	// names and ips make it a serving certificate as well.
	names []string
	ips   []string
}

// newAuthority creates a CA and writes ca.crt; its key never leaves memory.
func newAuthority(dir string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("create CA key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test cluster CA"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(certificateLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("create CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse CA certificate: %w", err)
	}
	if err := writePEM(filepath.Join(dir, "ca.crt"), "CERTIFICATE", der, 0o644); err != nil {
		return nil, err
	}
	return &authority{dir: dir, cert: cert, key: key}, nil
}

// issue writes a fresh key and a certificate for s.
func (a *authority) issue(s subject) error {
	key, err := writeKey(filepath.Join(a.dir, s.file+".key"))
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return fmt.Errorf("create serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: s.user, Organization: s.groups},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     a.cert.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		DNSNames:     s.names,
	}
	for _, ip := range s.ips {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(ip))
	}
	if len(s.names)+len(s.ips) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("create certificate of %s: %w", s.user, err)
	}
	return writePEM(filepath.Join(a.dir, s.file+".crt"), "CERTIFICATE", der, 0o644)
}

// writeKey creates a private key in a file of its own.
func writeKey(file string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("create key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return key, writePEM(file, "EC PRIVATE KEY", der, 0o600)
}

func writePEM(file, kind string, der []byte, mode os.FileMode) error {
	return writeFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

// makePKI writes the keys and certificates of every part of the cluster.
func (c *Cluster) makePKI() error {
	ca, err := newAuthority(c.path("pki"))
	if err != nil {
		return err
	}
	subjects := []subject{
		{
			file: "kube-apiserver", user: "kube-apiserver", groups: []string{"system:masters"},
			names: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"},
			ips:   []string{apiServiceIP, nodeIP(1), "127.0.0.1"},
		},
		{file: "admin", user: "admin", groups: []string{"system:masters"}},
		{file: "kube-controller-manager", user: "system:kube-controller-manager"},
		{file: "kube-scheduler", user: "system:kube-scheduler"},
		{file: "kube-proxy", user: "system:kube-proxy"},
	}
	for i := 1; i <= c.nodes; i++ {
		name := nodeName(i)
		subjects = append(subjects,
			subject{file: name, user: "system:node:" + name, groups: []string{"system:nodes"}},
			subject{file: name + "-serving", user: name, names: []string{name}, ips: []string{nodeIP(i)}})
	}
	for _, s := range subjects {
		if err := ca.issue(s); err != nil {
			return err
		}
	}
	_, err = writeKey(c.path("pki", "service-account.key"))
	return err
}
