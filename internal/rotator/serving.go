package rotator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// firstCertificateTimeout bounds how long a handshake waits for the first
// certificate. A container that was restarted may get connections before it has
// one; a failed handshake is a refused pod, whereas the apiserver waits for
// timeoutSeconds (5) in all.
const firstCertificateTimeout = 4 * time.Second

var errNoCertificate = errors.New("no serving certificate that the caBundle verifies yet")

// GetCertificate is for tls.Config. It waits a little for the first certificate
// and fails when none came.
func (r *Rotator) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert := r.serving.Load(); cert != nil {
		return cert, nil
	}
	timeout := time.NewTimer(firstCertificateTimeout)
	defer timeout.Stop()
	select {
	case <-r.served:
		return r.serving.Load(), nil
	case <-hello.Context().Done():
		return nil, hello.Context().Err()
	case <-timeout.C:
		return nil, errNoCertificate
	}
}

// serve takes memory's certificate into use once the caBundle verifies it; until
// then the one before goes on. It reports whether the caBundle verifies what is
// served.
func (r *Rotator) serve(bundle []byte) bool {
	now := r.clock.Now()
	current := r.serving.Load()
	candidate := r.memory.Load().serving
	if candidate != nil && candidate != current && verifies(bundle, candidate, r.issuer.dnsName, now) {
		r.serving.Store(candidate)
		if current == nil {
			close(r.served)
		}
		current = candidate
		r.log.Info("serving a certificate that the caBundle verifies", "expires", candidate.Leaf.NotAfter)
	}
	trusted := verifies(bundle, current, r.issuer.dnsName, now)
	r.metrics.serving(current, trusted)
	return trusted
}

// trustProblem is why the apiserver does not call this replica: what it means for pods, and what to do.
func (r *Rotator) trustProblem(seen observation, trusted bool) error {
	switch {
	case trusted:
		return nil
	case len(seen.entries(r.opts.Namespace)) == 0:
		return &causedError{causeConfigurationMissing, fmt.Errorf("%s has no webhook that calls the Service %s/%s: opted-in pods are created without their node selector; "+
			"apply the manifests again", configurations[0], r.opts.Namespace, ServiceName)}
	}
	return &causedError{causeBundleUnverified, fmt.Errorf("the caBundle of %s does not verify the served certificate: opted-in pods are refused; "+
		"look for what overwrites the caBundle", configurations[0])}
}

// Ready is nil once this replica has proven that the apiserver can call it, and
// from then on: a later loss of trust is the same for all replicas, and a fleet
// that turns NotReady together would only lose its endpoints too. The error says
// what is missing.
func (r *Rotator) Ready() error { return *r.ready.Load() }

func (r *Rotator) proven() bool { return r.Ready() == nil }

// setReady records what Ready returns, unless it is nil already.
func (r *Rotator) setReady(reason error) {
	if !r.proven() {
		r.ready.Store(&reason)
	}
}

// selfCheck shakes hands with our own listener as an apiserver would: roots from
// the webhook configuration as it is now, the Service's name, TLS 1.3.
func (r *Rotator) selfCheck(ctx context.Context) error {
	if r.serving.Load() == nil {
		return errNoCertificate
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	seen, err := r.cluster.observe(ctx, true)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(seen.bundle(r.opts.Namespace)) {
		return fmt.Errorf("%s has no caBundle with a certificate yet", configurations[0])
	}
	raw, err := r.dial(ctx)
	if err != nil {
		return fmt.Errorf("self-check: connect to own listener: %w", err)
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: r.issuer.dnsName, MinVersion: tls.VersionTLS13, Time: r.clock.Now})
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("self-check: handshake with own listener by the live caBundle: %w", err)
	}
	return nil
}
