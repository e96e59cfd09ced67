package server

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

func TestDrainWaitsForARequestUnderWayOnASlowLine(t *testing.T) {
	ca := newAuthority(t)
	s := start(t, ca, func(_ *Options, tm *timing) { tm.settle = 0 })
	c, err := dialTLS(t, ca, s.Addr(), nil)
	must(t, err)
	_, err = io.WriteString(c, head[:20]) // the rest comes when the drain is under way
	must(t, err)
	eventually(t, "the server sees the first part", func() bool { return !anyWaiting(s) })
	s.cancel()
	eventually(t, "the drain refuses", func() bool { return s.gate.phase.Load() == refusing })
	<-time.After(20 * s.timing.tick) // the sweep passes by many times
	resp, err := answerOn(c, head[20:]+"{}")
	must(t, err)
	// The gate's refusal, not the goodbye: that one has no content type, and would mean that the sweep cut the request.
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || resp.Header.Get("Content-Type") == "" {
		t.Errorf("got %v, want the gate's 503 with Retry-After", resp)
	}
	must(t, s.stop())
}

func TestDrainLeavesANewConnectionTimeForItsRequest(t *testing.T) {
	ca := newAuthority(t)
	s := start(t, ca, func(_ *Options, tm *timing) { tm.settle = time.Minute })
	c, err := dialTLS(t, ca, s.Addr(), nil)
	must(t, err)
	eventually(t, "the connection waits", func() bool { return s.metric("sts_webhook_open_connections", "") == 1 })
	s.cancel()
	eventually(t, "the drain refuses", func() bool { return s.gate.phase.Load() == refusing })
	must(t, c.SetReadDeadline(time.Now().Add(50*s.timing.tick)))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %d bytes, %v: the connection was closed before its first request", n, err)
	}
	must(t, c.SetReadDeadline(time.Time{}))
	resp, err := answerOn(c, head+"{}")
	must(t, err)
	// The gate's refusal, not the goodbye: that one has no content type, and would mean that the sweep cut the request.
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || resp.Header.Get("Content-Type") == "" {
		t.Errorf("got %v, want the gate's 503 with Retry-After", resp)
	}
}

// anyWaiting reports whether s has no connection yet or one that waits for a request.
func anyWaiting(s *running) bool {
	s.door.mu.Lock()
	defer s.door.mu.Unlock()
	for c := range s.door.conns {
		c.mu.Lock()
		waiting := c.waiting
		c.mu.Unlock()
		if waiting || !c.ConnectionState().HandshakeComplete {
			return true
		}
	}
	return len(s.door.conns) == 0
}

func TestHungHandlerDoesNotBlockTheExit(t *testing.T) {
	ca := newAuthority(t)
	entered, release := make(chan struct{}), make(chan struct{})
	s := start(t, ca, func(o *Options, _ *timing) {
		o.DrainTimeout = 100 * time.Millisecond
		o.Handler = http.HandlerFunc(func(_ http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-release
		})
	})
	lost := make(chan error, 1)
	go func() {
		_, err := post(newClient(t, ca), s.url(), []byte("{}"))
		lost <- err
	}()
	<-entered
	begin := time.Now()
	must(t, s.stop()) // a server that waits for the handler runs into the test binary's timeout
	if took := time.Since(begin); took < 100*time.Millisecond || took > 2*time.Second {
		t.Errorf("the drain took %s, want about DrainTimeout", took)
	}
	if err := <-lost; err == nil {
		t.Error("the hung request was answered")
	}
	close(release)
}

func TestLeavingAnswersAndClosesAndFailsReadiness(t *testing.T) {
	ca := newAuthority(t)
	s := start(t, ca, func(o *Options, tm *timing) { o.DrainDelay, o.DrainTimeout = 200*time.Millisecond, 5*time.Second })
	c := newClient(t, ca)
	got, err := post(c, s.url(), []byte("{}"))
	must(t, err)
	if got.close {
		t.Error("an ordinary answer closes the connection")
	}
	s.cancel()
	eventually(t, "the drain begins", func() bool { return s.gate.phase.Load() == leaving })
	if got := get(t, s.HealthAddr(), "/readyz"); got.code != 503 || got.body != "draining\n" {
		t.Errorf("readyz: got %d %q, want 503 draining", got.code, got.body)
	}
	if got := get(t, s.HealthAddr(), "/healthz"); got.code != 200 {
		t.Errorf("healthz: got %d, want 200", got.code)
	}
	for range 3 {
		got, err := post(c, s.url(), []byte("{}"))
		must(t, err)
		if got.code != 200 || !got.close {
			t.Errorf("during the delay: got %d, close %t, want 200 and true", got.code, got.close)
		}
	}
	must(t, s.stop())
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("the port is still open after Start has returned")
	}
}
