package rotator

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Outlook is what a certificate Secret says about now and about what comes next.
type Outlook struct {
	CAs     []*x509.Certificate // of ca.crt; the first one signs
	Serving *x509.Certificate   // of tls.crt
	// Step is the next write of the Secret, as the record and the metrics name it: rotate, distrust, retire or renew.
	Step string
	// Due is when the replicas take it.
	Due time.Time
}

// Foresee reads a certificate Secret, of which it needs no keys, and says what replicas with this policy do next. The error names
// what is missing or does not fit, never its content. A certificate that has ended is no error.
func Foresee(secret *corev1.Secret, p Policy, now time.Time) (*Outlook, error) {
	data := pick(secret.Data)
	if len(data) == 0 {
		return nil, errors.New("the Secret is empty")
	}
	cas, err := parseCAs(data[caCertKey])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", caCertKey, err)
	}
	chain := bundleCAs(data[certKey])
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s: no certificate", certKey)
	}
	pair := &tls.Certificate{Leaf: chain[0]}
	for _, cert := range chain {
		pair.Certificate = append(pair.Certificate, cert.Raw)
	}
	dnsName := ServiceName + "." + secret.Namespace + ".svc"
	if signer := encodePEM("CERTIFICATE", cas[0].Raw); !verifies(signer, pair, dnsName, chain[0].NotAfter) {
		return nil, fmt.Errorf("%s is not signed by the first certificate of %s, or not for %s", certKey, caCertKey, dnsName)
	}
	s := summary{
		record:      parseRecord(secret.Annotations[recordAnnotation]),
		leafCreated: chain[0].NotBefore.Add(backdate), leafExpires: chain[0].NotAfter,
	}
	for _, cert := range cas {
		s.trusted = append(s.trusted, ca{created: cert.NotBefore.Add(backdate), expires: cert.NotAfter})
	}
	q, _ := parseRequest(secret.Annotations[requestAnnotation]) // replicas ignore one that cannot be read
	step, due := nextStep(s, q, p, now)
	return &Outlook{CAs: cas, Serving: chain[0], Step: string(step), Due: due}, nil
}
