package rotator

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// trustChecker holds the promise: whoever is Ready and hears from the apiserver is
// trusted by every apiserver that lags at most --ca-overlap behind.
type trustChecker struct {
	fleet    *fleet
	overlap  time.Duration
	mu       sync.Mutex // guards what follows
	bundles  map[*version][]byte
	proven   map[proof]time.Time // until when, by bundle and certificate
	checked  map[*replica]checked
	checks   int
	failures int
}

// checked is what was found for one replica; it holds until something changes.
type checked struct {
	cert     *tls.Certificate
	versions int // of the cluster
	until    time.Time
}

type proof struct {
	version *version
	cert    *tls.Certificate
}

// reconnects is how long a replica may take to see what it has missed while it was
// cut off.
const reconnects = readRetryLast + time.Second

// check is called after each change and by every tick of watch.
func (c *trustChecker) check() {
	f, now, versions := c.fleet, c.fleet.now(), c.fleet.versions()
	recent := sync.OnceValue(func() []*version { return f.recent(configPath, now.Add(-c.overlap)) })
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range f.running() {
		if p.Ready() != nil || !p.link.up(reconnects) {
			continue
		}
		cert, err := p.GetCertificate(&tls.ClientHelloInfo{})
		if err != nil {
			f.t.Errorf("%s is Ready and has no certificate: %v", p.name, err)
			continue
		}
		c.checks++
		if last := c.checked[p]; last.cert == cert && last.versions == versions && now.Before(last.until) {
			continue
		}
		found := checked{cert, versions, now.Add(c.overlap)}
		for _, v := range recent() {
			if v.exempt.Load() {
				continue
			}
			until := c.trustedUntil(v, cert, now)
			if found.until = earlier(found.until, until); now.Before(until) {
				continue
			}
			if c.failures++; c.failures <= 3 {
				f.t.Errorf("%s: %s is refused by an apiserver that holds version %d of the caBundle, written %s ago by %q",
					time.Since(epoch), p.name, v.number, now.Sub(v.at), v.writer)
			}
		}
		if c.checked == nil {
			c.checked = map[*replica]checked{}
		}
		c.checked[p] = found
	}
}

// trustedUntil verifies as kube-apiserver does, once for each pair.
func (c *trustChecker) trustedUntil(v *version, cert *tls.Certificate, now time.Time) time.Time {
	pair := proof{v, cert}
	if until := c.proven[pair]; now.Before(until) {
		return until
	}
	if c.proven == nil {
		c.proven, c.bundles = map[proof]time.Time{}, map[*version][]byte{}
	}
	if c.bundles[v] == nil {
		var config admissionv1.MutatingWebhookConfiguration
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(decode(v.json), &config); err != nil {
			panic(err)
		}
		c.bundles[v] = config.Webhooks[0].ClientConfig.CABundle
	}
	if !slices.ContainsFunc(bundleCAs(c.bundles[v]), func(ca *x509.Certificate) bool { return valid(ca, now) }) {
		return now.Add(c.overlap) // every CA in it has expired: nobody can be trusted by it
	}
	c.proven[pair] = verifiedUntil(c.bundles[v], cert, now)
	return c.proven[pair]
}

// verifiedUntil is how long an apiserver that holds bundle accepts cert; zero if it does not.
func verifiedUntil(bundle []byte, cert *tls.Certificate, now time.Time) time.Time {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	var leaf *x509.Certificate
	for _, der := range cert.Certificate {
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			return time.Time{}
		}
		if leaf == nil {
			leaf = parsed
		} else {
			intermediates.AddCert(parsed)
		}
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		DNSName: ServiceName + ".test.svc", Roots: roots, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return time.Time{}
	}
	var until time.Time
	for _, chain := range chains {
		ends := chain[0].NotAfter
		for _, cert := range chain {
			ends = earlier(ends, cert.NotAfter)
		}
		until = later(until, ends)
	}
	return until
}

// watch checks every so often until the returned function is called.
func (c *trustChecker) watch(every time.Duration) (stop func()) {
	done := make(chan struct{})
	go func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				c.check()
			case <-done:
				return
			}
		}
	}()
	return func() { close(done) }
}

// recent lists the versions of an object that were current after t.
func (a *apiServer) recent(path string, t time.Time) []*version {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []*version
	for _, v := range slices.Backward(a.log) {
		if v.path != path || v.event == "DELETED" {
			continue
		}
		if !v.until.IsZero() && v.until.Before(t) {
			break
		}
		found = append(found, v)
	}
	return found
}

// forgive takes every version there is out of the promise: the test has destroyed
// what all replicas knew, or let the old CA expire.
func (a *apiServer) forgive() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range a.log {
		v.exempt.Store(true)
	}
}

// epoch is when every synctest bubble begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
