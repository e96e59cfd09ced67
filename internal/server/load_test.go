package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const announcing = "POST /mutate HTTP/1.1\r\nHost: " + serverName + "\r\nContent-Type: application/json\r\nContent-Length: "

// open opens n connections and sends text on each.
func open(t *testing.T, ca *authority, s *running, n int, text string) []*tls.Conn {
	t.Helper()
	var conns []*tls.Conn
	for range n {
		c, err := dialTLS(t, ca, s.Addr(), nil)
		must(t, err)
		_, err = io.WriteString(c, text)
		must(t, err)
		conns = append(conns, c)
	}
	return conns
}

// nextAnswer reads one answer and its text.
func nextAnswer(t *testing.T, c net.Conn) reply {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	return reply{code: resp.StatusCode, header: resp.Header, close: resp.Close, body: string(text)}
}

// inBodies reports whether n connections wait for a body.
func inBodies(s *running, n int) bool {
	s.conns.each(func(c *conn) {
		c.mu.Lock()
		if c.stage == reading && c.held > 0 {
			n--
		}
		c.mu.Unlock()
	})
	return n == 0
}

// P2: 512 connections that sent only a head refused every pod for 5 s.
func TestAHeadWithoutItsBodyTakesNoSlot(t *testing.T) {
	ca := newAuthority(t)
	s := start(t, ca, func(o *Options, _ *timing) { o.MaxInFlight = 4 })
	open(t, ca, s, 8, announcing+"6000\r\n\r\n")
	eventually(t, "the heads are read", func() bool { return inBodies(s, 8) })
	if got, err := post(newClient(t, ca), s.url(), make([]byte, 6000)); err != nil || got.code != 200 {
		t.Errorf("beside 8 heads without a body, 4 slots: got %d %v, want 200", got.code, err)
	}
}

// P2: three connections that announced 7 MiB refused every review over 64 KiB.
func TestABodyIsReservedAsItArrives(t *testing.T) {
	ca := newAuthority(t)
	s := start(t, ca, nil)
	open(t, ca, s, 3, announcing+"7340032\r\n\r\n{")
	eventually(t, "the heads are read", func() bool { return inBodies(s, 3) })
	if got := s.metric("sts_webhook_in_flight_body_bytes", ""); got != 3*smallestBuffer {
		t.Errorf("reserved for three bytes: got %v, want %d", got, 3*smallestBuffer)
	}
	if got, err := post(newClient(t, ca), s.url(), make([]byte, 1<<20)); err != nil || got.code != 200 {
		t.Errorf("beside 21 MiB that were announced: got %d %v, want 200", got.code, err)
	}
}

func TestTheSlowestSenderIsCutWhenTheBytesAreFull(t *testing.T) {
	ca := newAuthority(t)
	s := start(t, ca, func(o *Options, tm *timing) {
		o.MaxBodyBytes, o.BodyBudget, tm.body = 1<<20, 2<<20, 2*time.Second
	})
	// Three quarters of 2 MiB: one body of 1 MiB, not two.
	slow := open(t, ca, s, 1, announcing+"1048576\r\n\r\n"+string(make([]byte, 1<<20-1)))[0]
	eventually(t, "the slow body holds 1 MiB", func() bool { return s.bodies.used.Load() == 1<<20 })
	got, err := post(newClient(t, ca), s.url(), make([]byte, 1<<20))
	wantRefusal(t, got, err, "too many bytes") // the other one may still be as fast as this one
	<-time.After(200 * time.Millisecond)
	if got, err := post(newClient(t, ca), s.url(), make([]byte, 1<<20)); err != nil || got.code != 200 {
		t.Errorf("beside a body that lacks its last byte: got %d %v, want 200", got.code, err)
	}
	wantRefusal(t, nextAnswer(t, slow), nil, "too many bytes")
	if got := s.metric("sts_webhook_rejected_total", "overloaded_bytes"); got != 2 {
		t.Errorf("rejected as overloaded_bytes: got %v, want 2", got)
	}
}

// A few large bodies must not push out the ordinary ones.
func TestALargeBodyDoesNotCutSmallOnes(t *testing.T) {
	ca := newAuthority(t)
	s := start(t, ca, func(o *Options, tm *timing) {
		o.MaxBodyBytes, o.BodyBudget, tm.body = 128<<10, 192<<10, time.Second
	})
	small := open(t, ca, s, 8, announcing+"6000\r\n\r\n{") // 8 x 16 KiB of 192
	eventually(t, "the small bodies are under way", func() bool { return inBodies(s, 8) })
	<-time.After(150 * time.Millisecond) // now they may be cut, by small ones
	got, err := post(newClient(t, ca), s.url(), make([]byte, 128<<10))
	wantRefusal(t, got, err, "too many bytes")
	for _, c := range small {
		_, err := c.Write(make([]byte, 5999))
		must(t, err)
		if got := nextAnswer(t, c); got.code != 200 {
			t.Fatalf("a small body: got %d %q, want 200", got.code, got.body)
		}
	}
}

// P3: connections were unbounded, 5,000 of them reached the memory limit.
func TestConnectionsAreBounded(t *testing.T) {
	silenceClients(t)
	ca := newAuthority(t)
	entered, release := make(chan struct{}), make(chan struct{})
	s := start(t, ca, func(o *Options, _ *timing) {
		o.MaxConnections = 8
		o.Handlers = admission(func(body []byte, reply func(int, []byte)) {
			if len(body) > 2 {
				entered <- struct{}{}
				<-release
			}
			echo(body, reply)
		})
	})
	busy := open(t, ca, s, 1, announcing+"3\r\n\r\n{ }")[0]
	<-entered
	waits := open(t, ca, s, 7, "")
	_, err := io.WriteString(waits[0], head+"{}") // now the second one has waited longest
	must(t, err)
	if got := nextAnswer(t, waits[0]); got.code != 200 {
		t.Fatalf("got %d", got.code)
	}
	open(t, ca, s, 1, "")
	wantRefusal(t, nextAnswer(t, waits[1]), nil, "too many connections")
	if got := s.metric("sts_webhook_rejected_total", "overloaded_connections"); got != 1 {
		t.Errorf("rejected as overloaded_connections: got %v, want 1", got)
	}
	most := 0
	for range 100 { // none of them says a word, or closes
		c, err := net.Dial("tcp", s.Addr().String())
		must(t, err)
		defer c.Close()
		most = max(most, s.conns.count())
	}
	if most > 8+2 {
		t.Errorf("got %d connections at once, want at most 8, and 2 that are closing", most)
	}
	close(release)
	if got := nextAnswer(t, busy); got.code != 200 {
		t.Errorf("the request under way: got %d %q, want 200", got.code, got.body)
	}
	if got, err := post(newClient(t, ca), s.url(), []byte("{}")); err != nil || got.code != 200 {
		t.Errorf("a new connection: got %d %v, want 200", got.code, err)
	}
}

// P3: a flood of new connections closed those that kube-apiserver keeps, because they had waited longer.
func TestAFloodDoesNotCloseAConnectionThatCarriedARequest(t *testing.T) {
	silenceClients(t)
	ca := newAuthority(t)
	s := start(t, ca, func(o *Options, _ *timing) { o.MaxConnections = 8 })
	kept := open(t, ca, s, 1, head+"{}")[0]
	if got := nextAnswer(t, kept); got.code != 200 {
		t.Fatalf("got %d", got.code)
	}
	open(t, ca, s, 20, "")
	eventually(t, "there are 8 connections", func() bool { return s.metric("sts_webhook_rejected_total", "overloaded_connections") == 13 })
	_, err := io.WriteString(kept, head+"{}")
	must(t, err)
	if got := nextAnswer(t, kept); got.code != 200 {
		t.Errorf("the kept connection: got %d %q, want 200", got.code, got.body)
	}
}

// clientHello returns what a TLS client sends first.
func clientHello(t *testing.T, ca *authority) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Client(theirs, &tls.Config{RootCAs: ca.pool, ServerName: serverName, NextProtos: []string{"http/1.1"}}).Handshake()
	}()
	hello := make([]byte, 16<<10)
	n, err := ours.Read(hello)
	must(t, err)
	must(t, theirs.Close())
	<-done
	return hello[:n]
}

// P3: a thousand handshakes at once ran at once, and every admission waited for all of them.
func TestHandshakesThatComputeAreBounded(t *testing.T) {
	ca := newAuthority(t)
	var computing, most, total atomic.Int64
	s := start(t, ca, func(o *Options, _ *timing) {
		o.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			n := computing.Add(1)
			defer computing.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			total.Add(1)
			<-time.After(time.Millisecond)
			return &ca.leaf, nil
		}
	})
	hello := clientHello(t, ca)
	const count = 200
	for range count { // none of them goes on: a place must come back all the same
		c, err := net.Dial("tcp", s.Addr().String())
		must(t, err)
		defer c.Close()
		_, err = c.Write(hello)
		must(t, err)
	}
	eventually(t, "all have their turn", func() bool { return total.Load() == count })
	if got, want := most.Load(), int64(runtime.GOMAXPROCS(0)); got > want {
		t.Errorf("got %d handshakes that compute at once, want at most %d", got, want)
	}
	if got, err := post(newClient(t, ca), s.url(), []byte("{}")); err != nil || got.code != 200 {
		t.Errorf("beside %d stalled handshakes: got %d %v, want 200", count, got.code, err)
	}
}

// P4: at the end of DrainTimeout, with connections still arriving, requests under way were cut.
func TestTheEndOfTheDrainRefusesWhatIsUnderWay(t *testing.T) {
	silenceClients(t)
	ca := newAuthority(t)
	s := start(t, ca, func(o *Options, tm *timing) { o.DrainTimeout, tm.firstRequest = 2*time.Second, 100*time.Millisecond })
	var answered, cut atomic.Int64
	var clients sync.WaitGroup
	stop := make(chan struct{})
	clients.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			clients.Go(func() {
				c, err := tls.Dial("tcp", s.Addr().String(), &tls.Config{RootCAs: ca.pool, ServerName: serverName, NextProtos: []string{"http/1.1"}})
				if err != nil {
					return // the listener is closed: nothing was under way
				}
				defer c.Close()
				_, err = io.WriteString(c, head[:20])
				if err == nil {
					<-time.After(300 * time.Millisecond)
					_, err = io.WriteString(c, head[20:]+"{}")
				}
				if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("send: %v", err)
				}
				_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
				if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 200 && resp.Header.Get("Retry-After") != "1" {
					t.Logf("cut: %v %v", resp, err)
					cut.Add(1)
					return
				}
				answered.Add(1)
			})
		}
	})
	<-time.After(300 * time.Millisecond)
	begin := time.Now()
	must(t, s.stop())
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("the drain took %s, want about DrainTimeout", took)
	}
	close(stop)
	clients.Wait()
	t.Logf("%d answered, %d cut", answered.Load(), cut.Load())
	if cut.Load() > 0 || answered.Load() < 50 {
		t.Errorf("cut %d of %d requests", cut.Load(), cut.Load()+answered.Load())
	}
}

// P4: the same for one that takes longer than the end of the drain.
func TestTheEndOfTheDrainRefusesARequestThatDoesNotComeWhole(t *testing.T) {
	ca := newAuthority(t)
	s := start(t, ca, func(o *Options, tm *timing) { o.DrainTimeout, tm.head, tm.body = time.Second, time.Minute, time.Minute })
	half := map[string]*tls.Conn{
		"half a head":         open(t, ca, s, 1, head[:20])[0],
		"half a body":         open(t, ca, s, 1, head+"{")[0],
		"a head without body": open(t, ca, s, 1, head)[0],
	}
	eventually(t, "the bodies are awaited", func() bool { return inBodies(s, 2) })
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	for what, c := range half {
		if got := nextAnswer(t, c); got.code != 503 || got.header.Get("Retry-After") != "1" || !strings.Contains(got.body, "shutting down") {
			t.Errorf("%s: got %d %q, want a refusal", what, got.code, got.body)
		}
		_ = c.Close()
	}
	must(t, <-stopped)
}

func TestExpectContinue(t *testing.T) {
	ca := newAuthority(t)
	s := start(t, ca, nil)
	c := open(t, ca, s, 1, "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")[0]
	want := []byte("HTTP/1.1 100 Continue\r\n\r\n")
	got := make([]byte, len(want))
	_, err := io.ReadFull(c, got)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	_, err = io.WriteString(c, "{}")
	must(t, err)
	if got := nextAnswer(t, c); got.code != 200 {
		t.Errorf("got %d, want 200", got.code)
	}
}
