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
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// subject is what a certificate says about its holder.
type subject struct {
	// file is the base name of the files NAME.crt and NAME.key.
	file string
	// user and groups are what Kubernetes authenticates a client as.
	user   string
	groups []string
	// names and ips are those of a server.
	names []string
	ips   []net.IP
}

// makePKI writes the keys and certificates of every part of the cluster. They are valid
// for ten years, far longer than a cluster is kept. The CA's key never leaves memory.
func (c *Cluster) makePKI() error {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("create CA key: %w", err)
	}
	ca, err := cert.NewSelfSignedCACert(cert.Config{CommonName: "test-cluster-ca", NotBefore: time.Now().Add(-time.Hour)}, caKey)
	if err != nil {
		return fmt.Errorf("create CA certificate: %w", err)
	}
	if err := c.writeCertificate("ca", ca.Raw); err != nil {
		return err
	}
	subjects := []subject{
		{
			file: "kube-apiserver", user: "kube-apiserver", groups: []string{"system:masters"},
			names: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"},
			ips:   []net.IP{net.ParseIP(apiServiceIP), net.ParseIP(controlPlaneIP), net.IPv4(127, 0, 0, 1)},
		},
		{file: "admin", user: "admin", groups: []string{"system:masters"}},
		{file: "kube-controller-manager", user: "system:kube-controller-manager"},
		{file: "kube-scheduler", user: "system:kube-scheduler"},
		{file: "kube-proxy", user: "system:kube-proxy"},
	}
	for _, node := range nodeNames {
		subjects = append(subjects,
			subject{file: node, user: "system:node:" + node, groups: []string{"system:nodes"}},
			subject{file: node + "-serving", user: node, names: []string{node}, ips: []net.IP{net.ParseIP(nodeIPs[node])}})
	}
	for i, s := range subjects {
		key, err := c.writeKey(s.file)
		if err != nil {
			return err
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)),
			Subject:      pkix.Name{CommonName: s.user, Organization: s.groups},
			NotBefore:    ca.NotBefore,
			NotAfter:     ca.NotAfter,
			KeyUsage:     x509.KeyUsageDigitalSignature,
			ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
			DNSNames:     s.names,
			IPAddresses:  s.ips,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
		if err != nil {
			return fmt.Errorf("create certificate of %s: %w", s.user, err)
		}
		if err := c.writeCertificate(s.file, der); err != nil {
			return err
		}
	}
	_, err = c.writeKey("service-account")
	return err
}

// writeKey creates a private key in a file of its own.
func (c *Cluster) writeKey(name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("create key: %w", err)
	}
	text, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return key, writeFile(c.path("pki", name+".key"), text, 0o600)
}

func (c *Cluster) writeCertificate(name string, der []byte) error {
	return writeFile(c.path("pki", name+".crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}
