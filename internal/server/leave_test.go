package server

import (
	"bufio"
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
	s := start(t, ca, func(_ *Options, tm *timing) { tm.firstRequest = 0 })
	c, err := dialTLS(t, ca, s.Addr(), nil)
	must(t, err)
	_, err = io.WriteString(c, head[:20]) // the rest comes when the drain is under way
	must(t, err)
	eventually(t, "the server sees the first part", func() bool { return !anyWaiting(s) })
	s.cancel()
	eventually(t, "the drain refuses", func() bool { return s.phase.Load() == refusing })
	<-time.After(20 * s.timing.tick) // the drain looks many times
	wantDraining(t, c, head[20:]+"{}")
	must(t, s.stop())
}

func TestDrainLeavesANewConnectionTimeForItsRequest(t *testing.T) {
	ca := newAuthority(t)
	s := start(t, ca, func(_ *Options, tm *timing) { tm.firstRequest = time.Minute })
	c, err := dialTLS(t, ca, s.Addr(), nil)
	must(t, err)
	eventually(t, "the connection waits", func() bool { return s.metric("sts_webhook_open_connections", "") == 1 })
	s.cancel()
	eventually(t, "the drain refuses", func() bool { return s.phase.Load() == refusing })
	must(t, c.SetReadDeadline(time.Now().Add(50*s.timing.tick)))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %d bytes, %v: the connection was closed before its first request", n, err)
	}
	must(t, c.SetReadDeadline(time.Time{}))
	wantDraining(t, c, head+"{}")
}

// wantDraining sends text and wants the refusal of a request, not the answer of an idle connection: that one would mean that
// the request was cut.
func wantDraining(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || string(body) != errDraining.text {
		t.Errorf("got %v %q, want 503 with Retry-After, %q", resp, body, errDraining.text)
	}
}

// anyWaiting reports whether s has no connection yet or one that waits for a request.
func anyWaiting(s *running) bool {
	waiting := s.conns.count() == 0
	s.conns.each(func(c *conn) {
		c.mu.Lock()
		waiting = waiting || c.stage <= idle
		c.mu.Unlock()
	})
	return waiting
}

func TestHungHandlerDoesNotBlockTheExit(t *testing.T) {
	ca := newAuthority(t)
	entered, release := make(chan struct{}), make(chan struct{})
	s := start(t, ca, func(o *Options, _ *timing) {
		o.DrainTimeout = 100 * time.Millisecond
		o.Handlers = admission(func([]byte, func(int, []byte)) {
			close(entered)
			<-release
		})
	})
	answered := make(chan reply, 1)
	go func() {
		got, err := post(newClient(t, ca), s.url(), []byte("{}"))
		if err != nil {
			t.Errorf("the request in the hung handler was cut: %v", err)
		}
		answered <- got
	}()
	<-entered
	begin := time.Now()
	must(t, s.stop()) // a server that waits for the handler runs into the test binary's timeout
	if took := time.Since(begin); took < 100*time.Millisecond || took > 2*time.Second {
		t.Errorf("the drain took %s, want about DrainTimeout", took)
	}
	wantRefusal(t, <-answered, nil, "shutting down")
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
	eventually(t, "the drain begins", func() bool { return s.phase.Load() == leaving })
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
