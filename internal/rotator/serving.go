package rotator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// choose returns the certificate to serve: candidate once an apiserver that
// holds bundle verifies it, else the one served until now. Nil means none yet.
func choose(current, candidate *tls.Certificate, bundle []byte, dnsName string, now time.Time) *tls.Certificate {
	if sameLeaf(current, candidate) || !verifies(bundle, candidate, dnsName, now) {
		return current
	}
	return candidate
}

func sameLeaf(a, b *tls.Certificate) bool {
	return a != nil && b != nil && a.Leaf.Equal(b.Leaf)
}

// firstCertificateWait bounds how long a handshake waits for the first
// certificate. A container that was restarted may get connections before it has
// one; a failed handshake is a refused pod, whereas the apiserver waits for
// timeoutSeconds (5) in all.
const firstCertificateWait = 4 * time.Second

// GetCertificate is for tls.Config. It waits a little for the first certificate
// and fails when none came.
func (r *Rotator) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert := r.serving.Load(); cert != nil {
		return cert, nil
	}
	patience := time.NewTimer(firstCertificateWait)
	defer patience.Stop()
	select {
	case <-r.served:
		return r.serving.Load(), nil
	case <-hello.Context().Done():
		return nil, hello.Context().Err()
	case <-patience.C:
		return nil, errNoCertificate
	}
}

var errNoCertificate = errors.New("no serving certificate that the caBundle verifies yet")

// serve updates the served certificate and says whether the apiserver trusts it.
func (r *Rotator) serve(bundle []byte, configured bool) {
	now := r.clock.Now()
	current := r.serving.Load()
	cert := choose(current, r.memory.Load().leaf, bundle, r.DNSName(), now)
	if cert != current {
		r.serving.Store(cert)
		if current == nil {
			close(r.served)
		}
		r.log.Info("serving a certificate that the caBundle verifies", "expires", cert.Leaf.NotAfter)
	}
	trusted := verifies(bundle, cert, r.DNSName(), now)
	r.metrics.serving(cert, trusted)
	if !r.proven() {
		return // not serving yet, so there is no trust to lose
	}
	switch r.trust.see(trusted, now) {
	case trustLost:
		problem := lostTrust(configured)
		r.log.Error(problem, "the apiserver does not call this replica")
		r.report(EventTrust, "TrustLost", problem.Error())
	case trustRestored:
		r.log.Info("the caBundle verifies this replica again")
		r.report(EventTrust, "TrustRestored", "the caBundle verifies the served certificate again")
	}
}

// lostTrust says what it means for pods, and what to do.
func lostTrust(configured bool) error {
	if !configured {
		return fmt.Errorf("MutatingWebhookConfiguration %s does not exist: opted-in pods are created without their node selector; "+
			"apply the manifests again", ConfigurationName)
	}
	return fmt.Errorf("the caBundle of MutatingWebhookConfiguration %s has not verified the served certificate for %s: "+
		"opted-in pods are refused; look for what overwrites the caBundle", ConfigurationName, trustPatience)
}

// trustPatience is how long trust must be lost before it is said: a repair
// takes milliseconds and is reported as such.
const trustPatience = 5 * time.Second

type trustChange int

const (
	trustSame trustChange = iota
	trustLost
	trustRestored
)

// trustWatch turns a flickering value into changes worth reporting.
type trustWatch struct {
	lostAt time.Time // zero while trusted
	said   bool
}

func (w *trustWatch) see(trusted bool, now time.Time) trustChange {
	switch {
	case trusted && w.said:
		*w = trustWatch{}
		return trustRestored
	case trusted:
		*w = trustWatch{}
	case w.lostAt.IsZero():
		w.lostAt = now
	case !w.said && now.Sub(w.lostAt) >= trustPatience:
		w.said = true
		return trustLost
	}
	return trustSame
}

// lost reports whether trust is lost at the moment, said or not.
func (w *trustWatch) lost() bool { return !w.lostAt.IsZero() }

// wait is how long until see could have news: soon after a loss, when a live read
// may end it, rarely once the loss has been said.
func (w *trustWatch) wait() time.Duration {
	switch {
	case !w.lost():
		return sampleInterval
	case w.said:
		return trustPatience
	}
	return 250 * time.Millisecond
}

// Ready is nil once this replica has proven that the apiserver can call it, and
// from then on: a later loss of trust is the same for all replicas, and a fleet
// that turns NotReady together would only lose its endpoints too. The error says
// what is missing.
func (r *Rotator) Ready() error { return *r.ready.Load() }

func (r *Rotator) proven() bool { return r.Ready() == nil }

// setReady records what Ready returns; nil is for ever, see Ready.
func (r *Rotator) setReady(reason error) { r.ready.Store(&reason) }

// notReadyFor records why the loop cannot go on, if it was never ready, and
// returns err.
func (r *Rotator) notReadyFor(err error) error {
	if err != nil && !r.proven() {
		r.setReady(err)
	}
	return err
}

// prove shakes hands with our own listener as an apiserver would: roots from
// the webhook configuration as it is now, the Service's name, TLS 1.3.
func (r *Rotator) prove(ctx context.Context) error {
	if r.serving.Load() == nil {
		return errNoCertificate
	}
	bundle, err := r.bundle(ctx, r.live)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return fmt.Errorf("MutatingWebhookConfiguration %s has no caBundle with a certificate yet", ConfigurationName)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	dialer := tls.Dialer{NetDialer: &net.Dialer{}, Config: &tls.Config{
		RootCAs: roots, ServerName: r.DNSName(), MinVersion: tls.VersionTLS13, Time: r.clock.Now,
	}}
	conn, err := dialer.DialContext(ctx, "tcp", r.proof)
	if err != nil {
		return fmt.Errorf("prove readiness: handshake with own listener %s by the live caBundle: %w", r.proof, err)
	}
	r.log.Info("ready: the live caBundle verifies this replica", "listener", r.proof)
	r.setReady(nil)
	return conn.Close()
}
