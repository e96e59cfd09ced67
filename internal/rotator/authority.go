package rotator

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"time"

	certrotator "github.com/open-policy-agent/cert-controller/pkg/rotator"
)

// authority makes certificates, with the engine's own functions.
type authority struct {
	engine *certrotator.CertRotator
	policy Policy
}

// create returns the data of a first keyring: one CA and its leaf.
func (a authority) create(now time.Time) (map[string][]byte, error) {
	made, err := a.newCA(now)
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{caCertKey: made.CertPEM, caKeyKey: made.KeyPEM}
	return data, a.sign(data, made, now)
}

// data returns what the Secret holds after step s on k.
func (a authority) data(k *keyring, s step, now time.Time) (map[string][]byte, error) {
	data := maps.Clone(k.data)
	blocks := splitPEM(k.data[caCertKey])
	switch s {
	case stepStage:
		next, err := a.newCA(now)
		if err != nil {
			return nil, err
		}
		data[caCertKey], data[nextKey] = join(blocks[0], next.CertPEM), next.KeyPEM
	case stepPromote:
		next, err := artifacts(blocks[1], k.data[nextKey])
		if err != nil {
			return nil, err
		}
		data[caCertKey], data[caKeyKey] = join(blocks[1], blocks[0]), next.KeyPEM
		delete(data, nextKey)
		return data, a.sign(data, next, now)
	case stepRetire:
		data[caCertKey] = blocks[0]
	}
	return data, nil
}

func (a authority) newCA(now time.Time) (*certrotator.KeyPairArtifacts, error) {
	made, err := a.engine.CreateCACert(now.Add(-backdate), now.Add(a.policy.CADuration))
	if err != nil {
		return nil, fmt.Errorf("create CA: %w", err)
	}
	return made, nil
}

func (a authority) sign(data map[string][]byte, by *certrotator.KeyPairArtifacts, now time.Time) error {
	cert, key, err := a.engine.CreateCertPEM(by, now.Add(-backdate), now.Add(a.policy.CertDuration))
	if err != nil {
		return fmt.Errorf("create serving certificate: %w", err)
	}
	data[certKey], data[keyKey] = cert, key
	return nil
}

// artifacts is the engine's form of a CA that parseKeyring accepted.
func artifacts(cert, key []byte) (*certrotator.KeyPairArtifacts, error) {
	certBlock, _ := pem.Decode(cert)
	parsed, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse CA: %w", err)
	}
	keyBlock, _ := pem.Decode(key)
	parsedKey, err := x509.ParsePKCS1PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse CA key: %w", err)
	}
	return &certrotator.KeyPairArtifacts{Cert: parsed, Key: parsedKey, CertPEM: cert, KeyPEM: key}, nil
}

// splitPEM returns each block of text, encoded anew.
func splitPEM(text []byte) [][]byte {
	var out [][]byte
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return out
		}
		out, text = append(out, pem.EncodeToMemory(block)), rest
	}
}

func join(blocks ...[]byte) []byte { return bytes.Join(blocks, nil) }
