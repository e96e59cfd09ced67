package server

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestBudget(t *testing.T) {
	const mib = 1 << 20
	for name, tc := range map[string]struct {
		total, used, size int
		want              bool
	}{
		"a body that fits is let in":                          {28 * mib, 0, 7 * mib, true},
		"large bodies fill three quarters":                    {28 * mib, 14 * mib, 7 * mib, true},
		"the last quarter is closed to a large body":          {28 * mib, 14*mib + 1, 7 * mib, false},
		"the last quarter is open to a small body":            {28 * mib, 21 * mib, smallBody, true},
		"one byte over the small size is large":               {28 * mib, 21 * mib, smallBody + 1, false},
		"a small body does not fit beyond the whole budget":   {28 * mib, 28*mib - 5, 6, false},
		"a request without a body always fits":                {28 * mib, 28 * mib, 0, true},
		"a body to the last byte of the budget is let in":     {28 * mib, 28*mib - 6, 6, true},
		"a body larger than three quarters is never let in":   {8 * mib, 0, 7 * mib, false},
		"a body of exactly three quarters is let in if alone": {8 * mib, 0, 6 * mib, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := budget{total: tc.total}
			b.used.Store(int64(tc.used))
			if got := b.grow(0, tc.size); got != tc.want {
				t.Fatalf("got %t, want %t", got, tc.want)
			}
			if tc.want {
				b.release(tc.size)
			}
			if got := b.used.Load(); got != int64(tc.used) {
				t.Errorf("used afterwards: got %d, want %d", got, tc.used)
			}
		})
	}
}

// burst sends bodies at once, each on a connection of its own, and returns how many were answered 200 and refused 503.
func burst(t *testing.T, s *running, ca *authority, count, size int, chunked bool) (answered, refused int64) {
	t.Helper()
	transport := newTransport(ca)
	defer transport.CloseIdleConnections()
	// More than a gigabyte through one machine under the race detector: the client's timeout is not what is tested here.
	transport.TLSHandshakeTimeout = time.Minute
	c := &http.Client{Transport: transport, Timeout: time.Minute}
	data := make([]byte, size)
	var ok, no atomic.Int64
	var wg sync.WaitGroup
	for range count {
		wg.Go(func() {
			var body io.Reader = bytes.NewReader(data)
			if chunked {
				body = io.MultiReader(body)
			}
			resp, err := c.Post(s.url(), "application/json", body)
			if err != nil {
				t.Errorf("lost: %v", err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			switch {
			case resp.StatusCode == 200:
				ok.Add(1)
			case resp.StatusCode == 503 && resp.Header.Get("Retry-After") == "1" && resp.Close:
				no.Add(1)
			default:
				t.Errorf("got %v", resp)
			}
		})
	}
	wg.Wait()
	return ok.Load(), no.Load()
}

// hoarder keeps each body for a while, and notes the most bytes that it ever held at once.
type hoarder struct{ held, most atomic.Int64 }

func (h *hoarder) handle(body []byte, reply func(int, []byte)) {
	held := h.held.Add(int64(len(body)))
	for most := h.most.Load(); held > most && !h.most.CompareAndSwap(most, held); most = h.most.Load() {
	}
	<-time.After(10 * time.Millisecond)
	h.held.Add(int64(-len(body)))
	echo(body, reply)
}

func TestABurstOfLargeBodiesStaysWithinTheBudget(t *testing.T) {
	ca := newAuthority(t)
	for name, tc := range map[string]struct {
		count   int
		chunked bool
	}{
		"with Content-Length": {200, false},
		"chunked":             {50, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := &hoarder{}
			s := start(t, ca, func(o *Options, tm *timing) {
				o.Handlers = admission(h.handle)
				tm.handshake, tm.body, tm.write, tm.linger = time.Minute, time.Minute, time.Minute, time.Minute
			})
			answered, refused := burst(t, s, ca, tc.count, DefaultMaxBodyBytes, tc.chunked)
			t.Logf("%d answered, %d refused, at most %d MiB held at once", answered, refused, h.most.Load()>>20)
			if h.most.Load() > DefaultBodyBudget {
				t.Errorf("held %d bytes, more than the budget of %d", h.most.Load(), int64(DefaultBodyBudget))
			}
			if answered == 0 || refused == 0 {
				t.Error("the burst did not both use and exceed the budget: this test proves nothing")
			}
			if got := s.metric("sts_webhook_rejected_total", "overloaded_bytes"); int64(got) != refused {
				t.Errorf("rejected as overloaded_bytes: got %v, want %d", got, refused)
			}
			// They are given back after the answer has left.
			eventually(t, "all bytes are given back", func() bool { return s.metric("sts_webhook_in_flight_body_bytes", "") == 0 })
		})
	}
}

func TestSlotsAndTheSmallBodysShare(t *testing.T) {
	ca := newAuthority(t)
	entered, release := make(chan struct{}, 4), make(chan struct{})
	s := start(t, ca, func(o *Options, _ *timing) {
		o.MaxInFlight = 4
		o.MaxBodyBytes, o.BodyBudget = 1<<20, 4<<20
		o.Handlers = admission(func(body []byte, reply func(int, []byte)) {
			entered <- struct{}{}
			<-release
			echo(body, reply)
		})
	})
	c := newClient(t, ca)
	var wg sync.WaitGroup
	send := func(size int) {
		wg.Go(func() {
			if got, err := post(c, s.url(), make([]byte, size)); err != nil || got.code != 200 {
				t.Errorf("a request let in: got %d %v, want 200", got.code, err)
			}
		})
		<-entered
	}
	for range 3 {
		send(1 << 20)
	}
	got, err := post(c, s.url(), make([]byte, 1<<20))
	wantRefusal(t, got, err, "too many bytes")
	send(6000) // three large bodies fill their share; an ordinary pod passes beside them
	got, err = post(c, s.url(), make([]byte, 6000))
	wantRefusal(t, got, err, "too many requests")
	if n := s.metric("sts_webhook_in_flight_requests", ""); n != 4 {
		t.Errorf("in flight: got %v, want 4", n)
	}
	close(release)
	wg.Wait()
	for _, cause := range []string{"overloaded_requests", "overloaded_bytes"} {
		if n := s.metric("sts_webhook_rejected_total", cause); n != 1 {
			t.Errorf("rejected as %s: got %v, want 1", cause, n)
		}
	}
}
