package server

import (
	"bufio"
	"crypto/tls"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// silenceClients hides net/http's "Unsolicited response received on idle HTTP channel", which the answer on an idle connection provokes.
func silenceClients(tb testing.TB) {
	before := log.Writer()
	log.SetOutput(io.Discard)
	tb.Cleanup(func() { log.SetOutput(before) })
}

// plainServer is what any webhook server does: net/http alone, with the given header and idle timeouts.
func plainServer(tb testing.TB, ca *authority, header, idle time.Duration) (*http.Server, net.Addr) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				_, _ = io.WriteString(w, "answer")
			}
		}),
		TLSConfig:         &tls.Config{GetCertificate: ca.certificate, NextProtos: []string{"http/1.1"}},
		ReadHeaderTimeout: header,
		IdleTimeout:       idle,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	done := make(chan error, 1)
	go func() { done <- s.ServeTLS(l, "", "") }()
	tb.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return s, l.Addr()
}

// race sends requests at the very moment when the server's idle timeout ends: again and again a connection rests for
// about that long. It calls lose for each request lost, and returns how many were answered, how many of these refused with
// Retry-After, and how many were lost.
func race(tb testing.TB, ca *authority, addr string, idle time.Duration, workers, rounds int, lose func(error)) (answered, refused, lost int64) {
	var ok, no, gone atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			c := newClient(tb, ca) // a pool each: every connection rests exactly between two requests of its worker
			for range rounds {
				got, err := post(c, "https://"+addr+"/mutate", []byte("{}"))
				switch {
				case err != nil:
					lose(err)
					gone.Add(1)
				case got.code == 503 && got.header.Get("Retry-After") == "1":
					no.Add(1)
				case got.code == 200:
					ok.Add(1)
				default:
					tb.Errorf("got %d %q", got.code, got.body)
				}
				// Around the timeout, a little early more often than late.
				<-time.After(idle - 300*time.Microsecond + time.Duration(rand.Int64N(int64(500*time.Microsecond))))
			}
		})
	}
	wg.Wait()
	return ok.Load() + no.Load(), no.Load(), gone.Load()
}

func TestIdleConnectionIsNeverCutUnderARequest(t *testing.T) {
	silenceClients(t)
	ca := newAuthority(t)
	const idle, workers, rounds = 5 * time.Millisecond, 8, 120
	s := start(t, ca, func(_ *Options, tm *timing) { tm.idle = idle })
	answered, refused, lost := race(t, ca, s.Addr().String(), idle, workers, rounds, func(err error) { t.Errorf("lost: %v", err) })
	t.Logf("ours: %d answered, %d of them by that of an idle connection, %d lost", answered, refused, lost)
	if lost != 0 || answered != workers*rounds {
		t.Errorf("lost %d of %d requests", lost, workers*rounds)
	}
	_, addr := plainServer(t, ca, production.head, idle)
	answered, refused, control := race(t, ca, addr.String(), idle, workers, rounds, func(error) {})
	t.Logf("control (net/http): %d answered, %d refused, %d lost", answered, refused, control)
	if control == 0 {
		t.Error("the control lost no request: this test proves nothing")
	}
}

// dialTLS opens a connection without a request.
func dialTLS(tb testing.TB, ca *authority, addr net.Addr, config *tls.Config) (*tls.Conn, error) {
	tb.Helper()
	if config == nil {
		config = &tls.Config{RootCAs: ca.pool, ServerName: serverName, NextProtos: []string{"http/1.1"}}
	}
	c, err := tls.Dial("tcp", addr.String(), config)
	if err == nil {
		tb.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

const head = "POST /mutate HTTP/1.1\r\nHost: " + serverName + "\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"

// answerOn sends text on c and reads one answer.
func answerOn(c net.Conn, text string) (*http.Response, error) {
	if _, err := io.WriteString(c, text); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err == nil {
		_ = resp.Body.Close()
	}
	return resp, err
}

func TestConnectionMayWaitForItsFirstRequest(t *testing.T) {
	ca := newAuthority(t)
	const early = 30 * time.Millisecond
	s := start(t, ca, func(_ *Options, tm *timing) { tm.handshake, tm.head, tm.body = time.Second, early, early })
	_, addr := plainServer(t, ca, early, time.Minute)

	ours, err := dialTLS(t, ca, s.Addr(), nil)
	must(t, err)
	control, err := dialTLS(t, ca, addr, nil)
	must(t, err)
	<-time.After(4 * early)
	if resp, err := answerOn(ours, head+"{}"); err != nil || resp.StatusCode != 200 {
		t.Errorf("first request after four times the header timeout: got %v %v, want 200", resp, err)
	}
	if resp, err := answerOn(control, head+"{}"); err == nil {
		t.Errorf("the control answered %d: this test proves nothing", resp.StatusCode)
	}
}

func TestSlowClientsAreCut(t *testing.T) {
	ca := newAuthority(t)
	s := start(t, ca, func(_ *Options, tm *timing) {
		tm.handshake, tm.head, tm.body = 100*time.Millisecond, 100*time.Millisecond, 200*time.Millisecond
	})
	for name, tc := range map[string]struct {
		sent string
	}{
		"a head that never ends": {"POST /mutate HTTP/1.1\r\nHost:"},
		"half a request line":    {"POST /mut"},
		"a body that never ends": {head + "{"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := dialTLS(t, ca, s.Addr(), nil)
			must(t, err)
			must(t, c.SetDeadline(time.Now().Add(5*time.Second)))
			resp, err := answerOn(c, tc.sent)
			must(t, err)
			if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || !resp.Close {
				t.Errorf("got %v, want a 503 that an honest client repeats", resp)
			}
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Errorf("after the answer: %v, want the end of the stream", err)
			}
		})
	}
	t.Run("a handshake that never starts is cut", func(t *testing.T) {
		c, err := net.Dial("tcp", s.Addr().String())
		must(t, err)
		defer c.Close()
		must(t, c.SetDeadline(time.Now().Add(5*time.Second)))
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("got %v, want the end of the stream", err)
		}
		eventually(t, "the handshake timeout is counted", func() bool {
			return s.metric("sts_webhook_tls_handshake_errors_total", "timeout") == 1
		})
	})
	eventually(t, "no slow connection is left", func() bool { return s.metric("sts_webhook_open_connections", "") == 0 })
}

func TestIdleConnectionIsClosedWithAWholeAnswer(t *testing.T) {
	ca := newAuthority(t)
	s := start(t, ca, func(_ *Options, tm *timing) { tm.first = 20 * time.Millisecond })
	c, err := dialTLS(t, ca, s.Addr(), nil)
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || !resp.Close || !strings.Contains(string(text), "idle") {
		t.Errorf("got %v %q", resp, text)
	}
}
