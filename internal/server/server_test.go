package server

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestNewReportsEveryMistakeAtOnce(t *testing.T) {
	_, err := New(Options{DrainDelay: 30 * time.Second, MaxInFlight: -1, MaxConnections: -2, BodyBudget: 8 << 20})
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{
		"GetCertificate: required", "Ready: required", "Handlers: required", "Registerer: required",
		"DrainTimeout 20s: must be longer than DrainDelay 30s",
		"MaxInFlight -1: must be positive",
		"MaxConnections -2: must be positive",
		"BodyBudget 8388608: three quarters of it must hold one body of MaxBodyBytes 10485760",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
}

func TestDefaultsAreValidAndFitTogether(t *testing.T) {
	o := Options{
		GetCertificate: newAuthority(t).certificate, Ready: func() error { return nil }, Handlers: admission(echo),
		Registerer: prometheus.NewRegistry(), DrainDelay: DefaultDrainDelay,
	}.withDefaults()
	must(t, o.validate())
	if o.Address != ":8443" || o.HealthAddress != ":8081" || o.MaxBodyBytes != 10<<20 {
		t.Errorf("got %q, %q, %d", o.Address, o.HealthAddress, o.MaxBodyBytes)
	}
	const apiserverIdle = 90 * time.Second // apimachinery's SetTransportDefaults
	if production.idle < 2*apiserverIdle || production.first < 2*apiserverIdle {
		t.Error("connections must be kept clearly longer than kube-apiserver keeps them")
	}
	if DefaultDrainTimeout >= RecommendedGracePeriod {
		t.Error("the drain must end before the kubelet kills the process")
	}
}

func TestAPortInUseIsAnErrorAndNothingStaysBound(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	ca := newAuthority(t)
	options := func(address, health string, reg prometheus.Registerer) Options {
		return Options{
			Address: address, HealthAddress: health, GetCertificate: ca.certificate,
			Ready: func() error { return nil }, Handlers: admission(echo), Registerer: reg,
		}
	}
	registry := prometheus.NewRegistry()
	if _, err := New(options(taken.Addr().String(), "127.0.0.1:0", registry)); err == nil ||
		!strings.HasPrefix(err.Error(), "listen for admission requests: ") {
		t.Errorf("TLS port in use: got %v", err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := free.Addr().String()
	must(t, free.Close())
	if _, err := New(options(address, taken.Addr().String(), registry)); err == nil ||
		!strings.HasPrefix(err.Error(), "listen for probes: ") {
		t.Errorf("probe port in use: got %v", err)
	}
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "sts_webhook_panics_total", Help: "Taken."}))
	if _, err := New(options(address, "127.0.0.1:0", registry)); err == nil || !strings.HasPrefix(err.Error(), "register metric: ") {
		t.Errorf("metric in use: got %v", err)
	}
	families, err := registry.Gather()
	must(t, err)
	if len(families) != 1 {
		t.Errorf("got %d families, want the foreign one alone", len(families))
	}
	s, err := New(options(address, "127.0.0.1:0", prometheus.NewRegistry())) // the address is free again
	must(t, err)
	s.stop()
	must(t, s.probes.Close()) // http.Server.Close knows only the listeners that it serves
}

func TestMetricsExistAtZero(t *testing.T) {
	s := start(t, newAuthority(t), nil)
	for name, labels := range map[string][]string{
		"sts_webhook_rejected_total":             {"not_ready", "draining", "overloaded_requests", "overloaded_bytes", "overloaded_connections", "slow"},
		"sts_webhook_tls_handshake_errors_total": {"untrusted", "timeout", "other"},
		"sts_webhook_bad_requests_total":         {"400", "404", "405", "413", "415", "417", "431", "505"},
		"sts_webhook_panics_total":               {""},
		"sts_webhook_in_flight_requests":         {""},
		"sts_webhook_in_flight_body_bytes":       {""},
		"sts_webhook_open_connections":           {""},
	} {
		for _, label := range labels {
			if got := s.metric(name, label); got != 0 {
				t.Errorf("%s{%s}: got %v, want 0", name, label, got)
			}
		}
	}
}

func TestHandshakes(t *testing.T) {
	ca := newAuthority(t)
	trusted := func(change func(*tls.Config)) *tls.Config {
		c := &tls.Config{RootCAs: ca.pool, ServerName: serverName, NextProtos: []string{"http/1.1"}}
		change(c)
		return c
	}
	for name, tc := range map[string]struct {
		config *tls.Config
		want   string // of the client's error; empty: the handshake succeeds
		cause  string // whose counter grows; empty: none
	}{
		"TLS 1.3 with HTTP/1.1 is what the apiserver speaks": {config: trusted(func(*tls.Config) {})},
		"no ALPN is HTTP/1.1, too":                           {config: trusted(func(c *tls.Config) { c.NextProtos = nil })},
		"of h2 and HTTP/1.1 the latter is chosen":            {config: trusted(func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} })},
		"h2 alone is refused": {
			config: trusted(func(c *tls.Config) { c.NextProtos = []string{"h2"} }), want: "no application protocol", cause: "other"},
		"TLS 1.2 is refused": {
			config: trusted(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), want: "protocol version", cause: "other"},
		"a client with another caBundle refuses us, and we count it": {
			config: trusted(func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }), want: "unknown authority", cause: "untrusted"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, ca, nil)
			c, err := dialTLS(t, ca, s.Addr(), tc.config)
			if tc.want == "" {
				must(t, err)
				if got := c.ConnectionState(); got.Version != tls.VersionTLS13 || got.NegotiatedProtocol == "h2" {
					t.Errorf("got version %x, protocol %q", got.Version, got.NegotiatedProtocol)
				}
			} else if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want an error with %q", err, tc.want)
			}
			if tc.cause != "" {
				eventually(t, "the failure is counted as "+tc.cause, func() bool {
					return s.metric("sts_webhook_tls_handshake_errors_total", tc.cause) == 1
				})
			}
		})
	}
}

func TestEveryHandshakeProvesTheCertificateOfNow(t *testing.T) {
	old, renewed := newAuthority(t), newAuthority(t)
	var current atomic.Pointer[tls.Certificate]
	current.Store(&old.leaf)
	s := start(t, old, func(o *Options, _ *timing) {
		o.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current.Load(), nil }
	})
	// A client that would resume its session, as kube-apiserver does not.
	transport := newTransport(old)
	transport.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	transport.DisableKeepAlives = true
	c := &http.Client{Transport: transport}
	if got, err := post(c, s.url(), nil); err != nil || got.code != 200 {
		t.Fatalf("got %d, %v", got.code, err)
	}
	current.Store(&renewed.leaf)
	if got, err := post(c, s.url(), nil); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("the client trusts a certificate it does not know: got %d, %v", got.code, err)
	}
}

func TestATCPProbeIsNoHandshakeError(t *testing.T) {
	s := start(t, newAuthority(t), nil)
	c, err := net.Dial("tcp", s.Addr().String())
	must(t, err)
	eventually(t, "the probe is accepted", func() bool { return s.metric("sts_webhook_open_connections", "") == 1 })
	must(t, c.Close())
	eventually(t, "the probe is gone", func() bool { return s.metric("sts_webhook_open_connections", "") == 0 })
	if got := s.metric("sts_webhook_tls_handshake_errors_total", "other"); got != 0 {
		t.Errorf("got %v handshake errors, want 0", got)
	}
}
