package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"sts-mutating-webhook/internal/mutator"
	"sts-mutating-webhook/internal/server"
)

// replica is the path of a request as serve wires it, on loopback, with production's limits.
type replica struct {
	address string
	roots   *x509.CertPool
}

func startReplica(t *testing.T, log io.Writer) *replica {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"replica"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	certificate := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
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
	r.roots.AddCert(parsed)
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
	call := func() (failure string, crossed bool) {
		resp, err := client.Post("https://"+r.address+"/mutate?timeout=5s", "application/json", bytes.NewReader(review))
		if err != nil {
			return err.Error(), false
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Sprintf("%s %q %v", resp.Status, text, err), strings.Contains(string(text), "too many connections")
		}
		return "", false
	}
	var mu sync.Mutex // guards the results
	failures = map[string]int{}
	repeated := 0
	var calls sync.WaitGroup
	total := 0
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		total++
		calls.Go(func() {
			begin := time.Now()
			failure, crossed := call()
			if crossed {
				// It met the closing of its idle connection, which had to go for a newer one. An apiserver repeats it.
				failure, _ = call()
			}
			took := time.Since(begin)
			mu.Lock()
			defer mu.Unlock()
			if crossed {
				repeated++
			}
			slowest = max(slowest, took)
			if failure != "" {
				failures[failure]++
			}
		})
	}
	calls.Wait()
	t.Logf("%d calls, %d of them repeated, slowest %s", total, repeated, slowest.Round(time.Millisecond))
	if repeated > 3 {
		t.Errorf("%d of %d calls were repeated", repeated, total)
	}
	return slowest, failures
}

const announced = "POST /mutate HTTP/1.1\r\nHost: replica\r\nContent-Type: application/json\r\nContent-Length: "

// Whatever one client does, or the reader of the log, the calls of the others are answered, and at once.
func TestOrdinaryCallsAreAnsweredBeside(t *testing.T) {
	for fault, run := range map[string]func(t *testing.T, r *replica, stop <-chan struct{}){
		"a stalled log": func(*testing.T, *replica, <-chan struct{}) {},
		"600 slow heads": func(t *testing.T, r *replica, stop <-chan struct{}) {
			r.send(t, stop, 600, "POST /mutate HTTP/1.1\r\nHost:")
		},
		"600 slow bodies": func(t *testing.T, r *replica, stop <-chan struct{}) { r.send(t, stop, 600, announced+"6000\r\n\r\n{") },
		"slow bodies of 7 MiB": func(t *testing.T, r *replica, stop <-chan struct{}) {
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
			for range handshakes {
				conns = append(conns, r.dial(t))
			}
			for _, c := range conns {
				_, _ = c.Write(hello) // the server may have closed it
			}
		},
	} {
		t.Run(fault, func(t *testing.T) {
			log := io.Writer(io.Discard)
			if fault == "a stalled log" {
				p := &pipe{stalled: make(chan struct{})}
				defer close(p.stalled)
				log = p
			}
			r := startReplica(t, log)
			r.ordinary(t, 500*time.Millisecond) // its connections exist already, as an apiserver's do
			before := waitedForCPU(t)
			stop := make(chan struct{})
			var attack sync.WaitGroup
			attack.Go(func() { run(t, r, stop) })
			slowest, failures := r.ordinary(t, 2500*time.Millisecond)
			close(stop)
			attack.Wait()
			waited := waitedForCPU(t) - before
			t.Logf("waited %s for a CPU", waited)
			if len(failures) > 0 && waited > time.Second {
				t.Skipf("this machine is too busy: the test waited %s for a CPU; failed: %v", waited, failures)
			}
			if slowest > time.Second+waited || len(failures) > 0 {
				t.Errorf("the slowest call took %s, want at most 1s, and %s that the test waited for a CPU; failed: %v", slowest, waited, failures)
			}
		})
	}
}

// waitedForCPU returns how long the threads of this process were ready and other processes ran, see proc_pid_schedstat(5).
func waitedForCPU(t *testing.T) time.Duration {
	files, err := filepath.Glob("/proc/self/task/*/schedstat")
	if err != nil {
		t.Fatal(err)
	}
	var total time.Duration
	for _, name := range files {
		var running, waiting int64
		text, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		if _, err := fmt.Sscan(string(text), &running, &waiting); err != nil {
			t.Fatalf("read %s: %v", name, err)
		}
		total += time.Duration(waiting)
	}
	return total
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
