package server

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
)

func TestEndpoints(t *testing.T) {
	ca := newAuthority(t)
	s := start(t, ca, nil)
	c := newClient(t, ca)
	for path, want := range map[string]int{"/mutate": 200, "/mutate/": 404, "/": 404, "/readyz": 404, "/mutate?timeout=5s": 200} {
		got, err := post(c, "https://"+s.Addr().String()+path, []byte("{}"))
		must(t, err)
		if got.code != want {
			t.Errorf("POST %s: got %d, want %d", path, got.code, want)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/mutate": 404} {
		if got := get(t, s.HealthAddr(), path); got.code != want {
			t.Errorf("GET %s on the probes' listener: got %d, want %d", path, got.code, want)
		}
	}
}

// wantRefusal checks that client-go would repeat the request on a new connection.
func wantRefusal(t *testing.T, got reply, err error, text string) {
	t.Helper()
	must(t, err)
	if got.code != 503 || got.header.Get("Retry-After") != "1" || !got.close || !strings.Contains(got.body, text) {
		t.Fatalf("got %d, Retry-After %q, close %t, %q; want 503, 1, true and %q",
			got.code, got.header.Get("Retry-After"), got.close, got.body, text)
	}
}

func TestReadinessIsLatched(t *testing.T) {
	ca := newAuthority(t)
	var trouble atomic.Pointer[error]
	reason := errors.New("the caBundle does not verify the certificate")
	trouble.Store(&reason)
	s := start(t, ca, func(o *Options, _ *timing) {
		o.Ready = func() error {
			if e := trouble.Load(); e != nil {
				return *e
			}
			return nil
		}
	})
	c := newClient(t, ca)

	if got := get(t, s.HealthAddr(), "/readyz"); got.code != 503 || got.body != reason.Error()+"\n" {
		t.Errorf("readyz before readiness: got %d %q, want 503 and the reason", got.code, got.body)
	}
	if got := get(t, s.HealthAddr(), "/healthz"); got.code != 200 {
		t.Errorf("healthz before readiness: got %d, want 200", got.code)
	}
	got, err := post(c, s.url(), []byte("{}"))
	wantRefusal(t, got, err, "not ready")
	if n := s.metric("sts_webhook_rejected_total", "not_ready"); n != 1 {
		t.Errorf("rejected as not_ready: got %v, want 1", n)
	}

	trouble.Store(nil)
	if got, err := post(c, s.url(), []byte("{}")); err != nil || got.code != 200 {
		t.Errorf("once ready: got %d %v, want 200", got.code, err)
	}
	trouble.Store(&reason)
	if got := get(t, s.HealthAddr(), "/readyz"); got.code != 200 {
		t.Errorf("readyz in later trouble: got %d, want 200", got.code)
	}
	if got, err := post(c, s.url(), []byte("{}")); err != nil || got.code != 200 {
		t.Errorf("in later trouble: got %d %v, want 200", got.code, err)
	}
}

func TestPanicAnswers500ForThatCallOnly(t *testing.T) {
	ca := newAuthority(t)
	var mu sync.Mutex
	var logged strings.Builder
	s := start(t, ca, func(o *Options, _ *timing) {
		o.Log = funcr.New(func(prefix, args string) {
			mu.Lock()
			defer mu.Unlock()
			logged.WriteString(prefix + args + "\n")
		}, funcr.Options{})
		o.Handlers = admission(func(body []byte, reply func(int, []byte)) {
			switch string(body) {
			case "index":
				_ = body[len(body)]
			case "secret-token":
				panic("bad body: " + string(body))
			case "silent":
				return
			}
			reply(200, []byte("answer"))
			if string(body) == "late" {
				panic("after the answer")
			}
		})
	})
	c := newClient(t, ca)
	for body, want := range map[string]int{"index": 500, "secret-token": 500, "silent": 500, "late": 200, "fine": 200} {
		got, err := post(c, s.url(), []byte(body))
		must(t, err)
		if got.code != want || got.header.Get("Retry-After") != "" {
			t.Errorf("body %q: got %d, Retry-After %q, want %d and none", body, got.code, got.header.Get("Retry-After"), want)
		}
	}
	if n := s.metric("sts_webhook_panics_total", ""); n != 3 {
		t.Errorf("panics: got %v, want 3", n)
	}
	if n := s.metric("sts_webhook_in_flight_requests", ""); n != 0 {
		t.Errorf("in flight after the panics: got %v, want 0", n)
	}
	must(t, s.stop())
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"index out of range", "value of type string", "request_test.go"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("log lacks %q:\n%s", want, logged.String())
		}
	}
	if strings.Contains(logged.String(), "secret-token") {
		t.Errorf("log holds the request body:\n%s", logged.String())
	}
}

func TestOversizeIsCutAtTheCap(t *testing.T) {
	ca := newAuthority(t)
	var seen atomic.Int64
	s := start(t, ca, func(o *Options, _ *timing) {
		o.MaxBodyBytes = 100_000
		o.Handlers = admission(func(body []byte, reply func(int, []byte)) {
			seen.Add(int64(len(body)))
			echo(body, reply)
		})
	})
	c := newClient(t, ca)
	for name, tc := range map[string]struct {
		size    int
		chunked bool
		want    int
	}{
		"a body of exactly the cap passes":       {100_000, false, 200},
		"one byte more is 413":                   {100_001, false, 413},
		"a chunked body of the cap passes":       {100_000, true, 200},
		"a chunked body beyond the cap is 413":   {100_001, true, 413},
		"a body a hundred times the cap is 413":  {10_000_000, false, 413},
		"a huge chunked body is 413 all the way": {10_000_000, true, 413},
	} {
		t.Run(name, func(t *testing.T) {
			seen.Store(0)
			var body io.Reader = bytes.NewReader(make([]byte, tc.size))
			if tc.chunked {
				body = io.MultiReader(body) // hides the length from net/http
			}
			resp, err := c.Post(s.url(), "application/json", body)
			must(t, err)
			resp.Body.Close()
			if resp.StatusCode != tc.want {
				t.Errorf("got %d, want %d", resp.StatusCode, tc.want)
			}
			if n := seen.Load(); n > 100_000 {
				t.Errorf("the handler saw %d bytes, more than the cap", n)
			}
		})
	}
}

// A request costs what http.ReadRequest allocates, and little more.
func TestARequestAllocatesLittle(t *testing.T) {
	ca := newAuthority(t)
	s := start(t, ca, nil)
	c, err := dialTLS(t, ca, s.Addr(), nil)
	must(t, err)
	request, answer := []byte(head+"{}"), make([]byte, 4096)
	got := testing.AllocsPerRun(200, func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(answer); err != nil || !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 200 ")) {
			t.Fatalf("got %q, %v", answer[:n], err)
		}
	})
	reader := bufio.NewReader(nil)
	parse := testing.AllocsPerRun(200, func() {
		reader.Reset(bytes.NewReader(request))
		if _, err := http.ReadRequest(reader); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%v allocations, of which the parser %v", got, parse)
	if got > parse+8 {
		t.Errorf("got %v allocations per request, want at most 8 more than the parser's %v", got, parse)
	}
}

func TestAReplyOtherThan200IsTextAndKeepsTheConnection(t *testing.T) {
	ca := newAuthority(t)
	s := start(t, ca, func(o *Options, _ *timing) {
		o.Handlers = admission(func(body []byte, reply func(int, []byte)) { reply(len(body), []byte("answer")) })
	})
	c := newClient(t, ca)
	for status, want := range map[int]struct {
		contentType string
		closes      bool
	}{
		200: {"application/json", false}, 400: {"text/plain; charset=utf-8", false}, 500: {"text/plain; charset=utf-8", true},
	} {
		got, err := post(c, s.url(), make([]byte, status))
		must(t, err)
		if got.code != status || got.close != want.closes || got.header.Get("Content-Type") != want.contentType || got.body != "answer" {
			t.Errorf("got %+v, want %d, %+v", got, status, want)
		}
	}
}

// deadlines is a connection that notes its read deadline.
type deadlines struct {
	net.Conn
	read time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.read = t
	return nil
}

// A request that crosses the end of its wait must not bring the wait back: nobody would end it again.
func TestAWaitThatWasEndedStaysEnded(t *testing.T) {
	d := &deadlines{}
	c := &conn{Conn: d, server: &Server{}, stage: idle}
	c.enter(idle, time.Minute)
	if !d.read.After(time.Now()) {
		t.Fatal("the wait has no time")
	}
	c.interrupt(errIdle)
	for _, s := range []stage{reading, deciding, idle} {
		c.enter(s, time.Minute)
		if !d.read.Before(time.Now()) {
			t.Errorf("stage %d: the client is waited for again", s)
		}
	}
}

// P8: kube-apiserver writes '<' as \u003c. A pod that etcd stores makes a review of six times its size.
func TestTheLargestPodThatEtcdStoresIsReviewed(t *testing.T) {
	ca := newAuthority(t)
	s := start(t, ca, nil)
	const etcdLimit = 3 << 19
	if got, err := post(newClient(t, ca), s.url(), make([]byte, 6*etcdLimit+16<<10)); err != nil || got.code != 200 {
		t.Errorf("got %d %q %v, want 200", got.code, got.body, err)
	}
}
