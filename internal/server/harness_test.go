package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serverName is the name that kube-apiserver asks for.
const serverName = "sts-webhook.custom-system.svc"

// authority is a CA and a leaf that it signed.
type authority struct {
	pool *x509.CertPool
	pem  []byte
	leaf tls.Certificate
}

// newAuthority makes a CA of its own and one ECDSA leaf for serverName.
func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	template := func(serial int64) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial),
			Subject:      pkix.Name{CommonName: fmt.Sprintf("test %d", serial)},
			DNSNames:     []string{serverName},
			NotBefore:    time.Now().Add(-time.Hour),
			NotAfter:     time.Now().Add(time.Hour),
			KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
			ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(tb, err)
	ca := template(1)
	ca.IsCA, ca.BasicConstraintsValid = true, true
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(tb, err)
	ca, err = x509.ParseCertificate(caDER)
	must(tb, err)
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(tb, err)
	leafDER, err := x509.CreateCertificate(rand.Reader, template(2), ca, leafKey.Public(), caKey)
	must(tb, err)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return &authority{
		pool: pool,
		pem:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
		leaf: tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey},
	}
}

func (a *authority) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &a.leaf, nil }

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// echo answers 200 with a fixed text.
func echo(_ []byte, reply func(int, []byte)) { reply(http.StatusOK, []byte("answer")) }

// admission is the one path that is served.
func admission(h Handler) map[string]Handler { return map[string]Handler{"/mutate": h} }

// running is a started server.
type running struct {
	*Server
	tb       testing.TB
	registry *prometheus.Registry
	cancel   context.CancelFunc
	done     chan error
	once     sync.Once
	err      error
}

// brisk is production with waits that a test can sit out.
func brisk() timing {
	t := production
	t.linger = 500 * time.Millisecond
	t.firstRequest = 100 * time.Millisecond
	t.quiet = 20 * time.Millisecond
	t.tick = 2 * time.Millisecond
	return t
}

// start runs a server on loopback; change may alter its options and timing. It is stopped at the end of the test.
func start(tb testing.TB, ca *authority, change func(*Options, *timing)) *running {
	tb.Helper()
	registry := prometheus.NewRegistry()
	o := Options{
		Address:        "127.0.0.1:0",
		HealthAddress:  "127.0.0.1:0",
		GetCertificate: ca.certificate,
		Ready:          func() error { return nil },
		Handlers:       admission(echo),
		DrainDelay:     time.Millisecond,
		DrainTimeout:   5 * time.Second,
		Registerer:     registry,
	}
	t := brisk()
	if change != nil {
		change(&o, &t)
	}
	s, err := newServer(o, t)
	must(tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Server: s, tb: tb, registry: registry, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- s.Start(ctx) }()
	tb.Cleanup(func() { must(tb, r.stop()) })
	return r
}

// stop ends the server as SIGTERM does and waits for Start.
func (r *running) stop() error {
	r.once.Do(func() {
		r.cancel()
		r.err = <-r.done
	})
	return r.err
}

// url is the admission endpoint, by address.
func (r *running) url() string { return "https://" + r.Addr().String() + "/mutate" }

// metric returns the value of the series of name whose first label is label, or of the one series without labels.
func (r *running) metric(name, label string) float64 {
	r.tb.Helper()
	families, err := r.registry.Gather()
	must(r.tb, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label == "" || m.GetLabel()[0].GetValue() == label {
				return value(m)
			}
		}
	}
	r.tb.Fatalf("no series %s{%s}", name, label)
	return 0
}

func value(m *dto.Metric) float64 { return m.GetCounter().GetValue() + m.GetGauge().GetValue() }

// newTransport is set up as client-go and apimachinery set up kube-apiserver's client for webhooks.
func newTransport(ca *authority) *http.Transport {
	return &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: ca.pool, ServerName: serverName, NextProtos: []string{"http/1.1"}},
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 25,
		IdleConnTimeout:     90 * time.Second,
		DialContext:         (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
	}
}

// newClient returns a client whose idle connections end with the test.
func newClient(tb testing.TB, ca *authority) *http.Client {
	t := newTransport(ca)
	tb.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: 10 * time.Second}
}

// reply is an answer with its body read.
type reply struct {
	code   int
	header http.Header
	close  bool
	body   string
}

// post sends body; size only matters to the caller's own bookkeeping.
func post(c *http.Client, url string, body []byte) (reply, error) {
	resp, err := c.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{code: resp.StatusCode, header: resp.Header, close: resp.Close, body: string(text)}, err
}

// get fetches a probe over plain HTTP on a connection of its own.
func get(tb testing.TB, addr net.Addr, path string) reply {
	tb.Helper()
	t := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: t}).Get("http://" + addr.String() + path)
	must(tb, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(tb, err)
	return reply{code: resp.StatusCode, header: resp.Header, body: string(text)}
}

// eventually polls a condition that another goroutine or the kernel makes true.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			tb.Fatalf("never happened: %s", what)
		}
	}
}
