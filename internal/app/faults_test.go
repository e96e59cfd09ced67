//go:build !race

package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"sts-mutating-webhook/internal/mutator"
	"sts-mutating-webhook/internal/server"
	"sts-mutating-webhook/test/selfsigned"
)

// replica is the path of a request as serve wires it, on loopback, with production's limits.
type replica struct {
	address string
	roots   *x509.CertPool
}

func startReplica(t *testing.T, log io.Writer) *replica {
	t.Helper()
	certificate, err := selfsigned.New("replica")
	if err != nil {
		t.Fatal(err)
	}
	lines := newLogWriter(log, nil)
	t.Cleanup(lines.Close)
	s, err := server.New(server.Options{
		Address: "127.0.0.1:0", HealthAddress: "127.0.0.1:0",
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil },
		Ready:          func() error { return nil },
		Handlers: map[string]server.Handler{
			"/mutate": mutator.NewHandler(mutator.Settings{}, nil, lines, logr.Discard(), prometheus.NewRegistry()).Handle,
		},
		DrainTimeout: 100 * time.Millisecond, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	r := &replica{address: s.Addr().String(), roots: x509.NewCertPool()}
	r.roots.AddCert(certificate.Leaf)
	return r
}

func (r *replica) tls() *tls.Config {
	return &tls.Config{RootCAs: r.roots, ServerName: "replica", NextProtos: []string{"http/1.1"}}
}

// dial connects without a handshake; the connection is closed with the test.
func (r *replica) dial(t *testing.T) net.Conn {
	c, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// send connects again and again, count times in all, and sends text over TLS. It ends with stop.
func (r *replica) send(t *testing.T, stop <-chan struct{}, count int, text string) {
	for range count {
		select {
		case <-stop:
			return
		default:
		}
		c := tls.Client(r.dial(t), r.tls())
		if _, err := io.WriteString(c, text); err != nil {
			continue // it was closed for a newer one
		}
	}
}

// ordinary makes 100 calls a second for a while, as an apiserver does. It returns the longest that one took, and those that were
// not answered.
func (r *replica) ordinary(t *testing.T, d time.Duration) (slowest time.Duration, failures map[string]int) {
	t.Helper()
	review, err := os.ReadFile("../mutator/testdata/review.json")
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: r.tls(), MaxIdleConnsPerHost: 25}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	call := func() string {
		resp, err := client.Post("https://"+r.address+"/mutate?timeout=5s", "application/json", bytes.NewReader(review))
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Sprintf("%s %q %v", resp.Status, text, err)
		}
		return ""
	}
	var mu sync.Mutex // guards the results
	failures = map[string]int{}
	var calls sync.WaitGroup
	total := 0
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		total++
		calls.Go(func() {
			begin := time.Now()
			failure := call()
			took := time.Since(begin)
			mu.Lock()
			defer mu.Unlock()
			slowest = max(slowest, took)
			if failure != "" {
				failures[failure]++
			}
		})
	}
	calls.Wait()
	t.Logf("%d calls, slowest %s", total, slowest.Round(time.Millisecond))
	return slowest, failures
}

const announced = "POST /mutate HTTP/1.1\r\nHost: replica\r\nContent-Type: application/json\r\nContent-Length: "

// Whatever one client does, or the reader of the log, the calls of the others are answered, and within a second. The race
// detector would make the handshakes alone take longer; "make test-unit" runs this test by itself.
func TestFaultsDoNotReachOrdinaryCalls(t *testing.T) {
	for fault, run := range map[string]func(t *testing.T, r *replica, stop <-chan struct{}){
		"a stalled log": func(*testing.T, *replica, <-chan struct{}) {},
		"a full disk":   func(*testing.T, *replica, <-chan struct{}) {},
		"600 slow heads": func(t *testing.T, r *replica, stop <-chan struct{}) {
			r.send(t, stop, 600, "POST /mutate HTTP/1.1\r\nHost:")
		},
		"600 slow bodies": func(t *testing.T, r *replica, stop <-chan struct{}) { r.send(t, stop, 600, announced+"6000\r\n\r\n{") },
		"large slow bodies": func(t *testing.T, r *replica, stop <-chan struct{}) {
			r.send(t, stop, 12, announced+"7340032\r\n\r\n"+string(make([]byte, 300<<10)))
		},
		"5,000 connections": func(t *testing.T, r *replica, _ <-chan struct{}) {
			for range 5000 {
				r.dial(t)
			}
		},
		"1,000 handshakes at once": func(t *testing.T, r *replica, _ <-chan struct{}) {
			hello := r.clientHello(t)
			var conns []net.Conn
			for range 1000 {
				conns = append(conns, r.dial(t))
			}
			for _, c := range conns {
				_, _ = c.Write(hello) // the server may have closed it
			}
		},
	} {
		t.Run(fault, func(t *testing.T) {
			r := startReplica(t, logOf(t, fault))
			r.ordinary(t, 500*time.Millisecond) // its connections exist already, as an apiserver's do
			stop := make(chan struct{})
			var attack sync.WaitGroup
			attack.Go(func() { run(t, r, stop) })
			slowest, failures := r.ordinary(t, 2500*time.Millisecond)
			close(stop)
			attack.Wait()
			if slowest > time.Second || len(failures) > 0 {
				t.Errorf("the slowest call took %s, want at most 1s; failed: %v", slowest, failures)
			}
		})
	}
}

// logOf is where the replica logs to.
func logOf(t *testing.T, fault string) io.Writer {
	switch fault {
	case "a stalled log":
		p := &pipe{stalled: make(chan struct{})}
		t.Cleanup(func() { close(p.stalled) })
		return p
	case "a full disk":
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = full.Close() })
		return full
	}
	return io.Discard
}

// clientHello returns what a TLS client sends first.
func (r *replica) clientHello(t *testing.T) []byte {
	ours, theirs := net.Pipe()
	defer ours.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Client(theirs, r.tls()).Handshake() // nobody answers
	}()
	hello := make([]byte, 16<<10)
	n, err := ours.Read(hello)
	if err != nil {
		t.Error(err)
	}
	_ = theirs.Close()
	<-done
	return hello[:n]
}
