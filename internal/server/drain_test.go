package server

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// service stands for a ClusterIP: every new connection goes to one of the endpoints, existing ones stay where they are.
type service struct {
	mu        sync.Mutex
	endpoints []string
}

func (s *service) set(addrs ...net.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoints = nil
	for _, a := range addrs {
		s.endpoints = append(s.endpoints, a.String())
	}
}

func (s *service) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	s.mu.Lock()
	addr := s.endpoints[rand.IntN(len(s.endpoints))]
	s.mu.Unlock()
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// newHookClient builds client-go's REST client as kube-apiserver's webhook.ClientManager does.
func newHookClient(tb testing.TB, ca *authority, s *service) *rest.RESTClient {
	tb.Helper()
	c, err := rest.UnversionedRESTClientFor(&rest.Config{
		Host: "https://" + serverName + ":8443",
		Dial: s.dial,
		QPS:  -1,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: ca.pem, ServerName: serverName, NextProtos: []string{"http/1.1"},
		},
		ContentConfig: rest.ContentConfig{
			NegotiatedSerializer: scheme.Codecs.WithoutConversion(),
			GroupVersion:         &schema.GroupVersion{},
			ContentType:          "application/json",
		},
	})
	must(tb, err)
	tb.Cleanup(c.Client.CloseIdleConnections)
	return c
}

// call sends one request as an admission with timeoutSeconds: 5.
func call(c *rest.RESTClient, body []byte) error {
	text, err := c.Post().AbsPath("/mutate").SetHeader("Content-Type", "application/json").Timeout(5 * time.Second).Body(body).DoRaw(context.Background())
	if err == nil && string(text) != "answer" {
		return errors.New("wrong answer: " + string(text))
	}
	return err
}

// refuser answers 503 as a replica that cannot serve, with the given Retry-After.
func refuser(tb testing.TB, ca *authority, retryAfter string) (net.Addr, *atomic.Int64) {
	tb.Helper()
	var hits atomic.Int64
	s, addr := plainServer(tb, ca, production.head, time.Minute)
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	return addr, &hits
}

func TestClientGoRepeatsARefusalElsewhere(t *testing.T) {
	ca := newAuthority(t)
	body := bytes.Repeat([]byte("x"), 1<<20) // beyond what net/http drains by itself: the refusal must still arrive
	for name, tc := range map[string]struct {
		refuse func(t *testing.T) net.Addr
		lost   bool
	}{
		"a replica that is not ready": {refuse: func(t *testing.T) net.Addr {
			return start(t, ca, func(o *Options, _ *timing) {
				o.Ready = func() error { return errors.New("not yet") }
			}).Addr()
		}},
		"a replica whose body budget is used up": {refuse: func(t *testing.T) net.Addr {
			s := start(t, ca, nil)
			s.bodies.used.Store(int64(s.bodies.total))
			return s.Addr()
		}},
		"a replica whose slots are used up": {refuse: func(t *testing.T) net.Addr {
			s := start(t, ca, nil)
			s.slots.used.Store(s.slots.max)
			return s.Addr()
		}},
		"a replica that is draining": {refuse: func(t *testing.T) net.Addr {
			s := start(t, ca, func(o *Options, tm *timing) { o.DrainTimeout, tm.quiet = 2*time.Second, time.Minute })
			s.accepted.Store(time.Now().UnixNano()) // as if a connection had just come: the drain waits for quiet
			s.cancel()
			eventually(t, "the drain refuses", func() bool { return s.phase.Load() == refusing })
			return s.Addr()
		}},
		"control: a 503 without Retry-After": {lost: true, refuse: func(t *testing.T) net.Addr {
			addr, _ := refuser(t, ca, "")
			return addr
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := start(t, ca, nil)
			bad := tc.refuse(t)
			endpoints := &service{}
			endpoints.set(bad) // the first attempt goes to the replica that refuses
			c := newHookClient(t, ca, endpoints)
			// The next attempt comes a second later: by then new connections go elsewhere.
			moved := time.AfterFunc(300*time.Millisecond, func() { endpoints.set(good.Addr()) })
			defer moved.Stop()
			err := call(c, body)
			if tc.lost && err == nil {
				t.Error("the control got an answer: this test proves nothing")
			}
			if !tc.lost && err != nil {
				t.Errorf("lost: %v", err)
			}
		})
	}
}

// replica is a server that a rollout can start and end.
type replica struct {
	addr net.Addr
	end  func() error
}

func ourReplica(t *testing.T, ca *authority) replica {
	s := start(t, ca, func(o *Options, tm *timing) {
		o.DrainDelay, o.DrainTimeout = 100*time.Millisecond, 20*time.Second
		tm.quiet, tm.linger, tm.firstRequest = 200*time.Millisecond, production.linger, production.firstRequest
	})
	return replica{s.Addr(), s.stop}
}

// rollout replaces both replicas several times under load, calls lose for each request lost, and returns the requests
// answered and lost. A replica gets its SIGTERM before the Service knows, as in Kubernetes: that takes 20 ms here, a fifth of
// the drain delay.
func rollout(t *testing.T, ca *authority, times int, fresh func(*testing.T, *authority) replica, lose func(error)) (answered, lost int64) {
	endpoints := &service{}
	pair := [2]replica{fresh(t, ca), fresh(t, ca)}
	endpoints.set(pair[0].addr, pair[1].addr)
	c := newHookClient(t, ca, endpoints)
	var ok, gone atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			body := bytes.Repeat([]byte("x"), 6000)
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(rand.Int64N(int64(12 * time.Millisecond)))): // connections rest, too
				}
				if err := call(c, body); err != nil {
					lose(err)
					gone.Add(1)
					continue
				}
				ok.Add(1)
			}
		})
	}
	var ending sync.WaitGroup
	for i := range times {
		old, next := pair[i%2], fresh(t, ca)
		endpoints.set(old.addr, pair[(i+1)%2].addr, next.addr) // surge: the new one is ready first
		ending.Go(func() {
			if err := old.end(); err != nil {
				t.Errorf("end a replica: %v", err)
			}
		})
		<-time.After(20 * time.Millisecond)
		endpoints.set(pair[(i+1)%2].addr, next.addr)
		pair[i%2] = next
		<-time.After(60 * time.Millisecond)
	}
	ending.Wait()
	close(stop)
	wg.Wait()
	return ok.Load(), gone.Load()
}

func TestRolloutLosesNoRequest(t *testing.T) {
	silenceClients(t)
	ca := newAuthority(t)
	answered, lost := rollout(t, ca, 20, ourReplica, func(err error) { t.Errorf("lost: %v", err) })
	t.Logf("ours: %d answered, %d lost", answered, lost)
	if lost != 0 || answered == 0 {
		t.Errorf("lost %d of %d requests", lost, answered+lost)
	}
	for name, end := range map[string]func(*http.Server) error{
		"http.Server.Shutdown": func(s *http.Server) error { return s.Shutdown(context.Background()) },
		"http.Server.Close":    (*http.Server).Close,
	} {
		answered, lost := rollout(t, ca, 20, func(t *testing.T, ca *authority) replica {
			s, addr := plainServer(t, ca, production.head, production.idle)
			return replica{addr, func() error { return end(s) }}
		}, func(error) {})
		t.Logf("control (%s at once): %d answered, %d lost", name, answered, lost)
		if lost == 0 {
			t.Errorf("control (%s at once) lost no request: this test proves nothing", name)
		}
	}
}
