package rollout

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

const (
	// soakers are the connections to each server. Each has a transport of its own, so
	// that it is known how long which connection was idle.
	soakers = 1000
	// soakSpread keeps the connections from coming all at once.
	soakSpread = 30 * time.Second
	// soakJitter is by how much the second request is early or late: more than the
	// time in which a close on its way meets a request.
	soakJitter = 3 * time.Millisecond
	// apiserverIdle is after how long kube-apiserver closes an idle connection.
	apiserverIdle = 90 * time.Second
)

// testIdleTimeout sends a second request after about the time that a connection
// may be idle, by client-go's own transport, which is kube-apiserver's.
func (s *suite) testIdleTimeout(t *testing.T) {
	ctx := s.Ctx
	kit.Must(t, s.ours.settle(ctx))
	pod, err := s.ours.replica(ctx, anyPod)
	kit.Must(t, err)
	never := func(int32, http.ResponseWriter) bool { return false }
	controls := []time.Duration{apiserverIdle, apiserverIdle - time.Second}
	type result struct {
		name string
		soak
	}
	results := []*result{{name: "ours", soak: soak{address: net.JoinHostPort(pod.Status.PodIP, "8443"), rest: controls}}}
	for _, idle := range controls {
		server := startStandin(t, s, idle, never)
		results = append(results, &result{name: fmt.Sprintf("a server with IdleTimeout %s", idle), soak: soak{address: server.address, rest: []time.Duration{idle}}})
	}
	var all sync.WaitGroup
	all.Go(func() { s.soakThroughAPIServer(ctx, t) })
	for _, r := range results {
		all.Go(func() { r.run(ctx, s) })
	}
	all.Wait()
	var parts []string
	for i, r := range results {
		t.Logf("%s: %d requests, %d lost: %v", r.name, r.sent, r.lost, r.causes)
		parts = append(parts, fmt.Sprintf("%s lost %d of %d", r.name, r.lost, r.sent))
		if i == 0 && r.lost > 0 {
			t.Errorf("ours lost %d: %v", r.lost, r.causes)
		}
		if r.sent < soakers {
			t.Errorf("%s: %d requests, too few to prove anything", r.name, r.sent)
		}
	}
	if results[1].lost+results[2].lost == 0 {
		t.Error("the controls lost nothing: the soak does not hit the race")
	}
	s.Remark("Second requests on connections that were idle for 89 s or 90 s (give or take %s), over client-go's transport: %s.", soakJitter, strings.Join(parts, "; "))
}

// soak is one server and what became of the requests to it.
type soak struct {
	address string
	// rest are the idle times in use, in turn.
	rest []time.Duration
	// mu guards what follows.
	mu         sync.Mutex
	sent, lost int
	causes     map[string]int
}

func (s *soak) run(ctx context.Context, in *suite) {
	s.causes = map[string]int{}
	var all sync.WaitGroup
	for i := range soakers {
		all.Go(func() {
			if kit.Sleep(ctx, time.Duration(i)*soakSpread/soakers) != nil {
				return
			}
			rest := s.rest[i%len(s.rest)] - soakJitter + rand.N(2*soakJitter)
			err := twice(ctx, in, s.address, rest)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.sent++
			if err != nil {
				s.lost++
				s.causes[err.Error()]++
			}
		})
	}
	all.Wait()
}

// twice sends a request, rests, and sends another one; its error is returned.
func twice(ctx context.Context, s *suite, address string, idle time.Duration) error {
	client, err := rest.HTTPClientFor(&rest.Config{
		Host: "https://" + address, TLSClientConfig: rest.TLSClientConfig{Insecure: true},
		Dial: s.Cluster.Dialer("node-1"), // a function of its own: the transport is shared with nobody
	})
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	for n := range 2 {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+"/mutate", io.NopCloser(strings.NewReader("{}")))
		if err != nil {
			return err
		}
		request.ContentLength = 2
		request.Header.Set("Content-Type", "application/json")
		response, err := client.Do(request)
		if err != nil {
			if n == 0 {
				return fmt.Errorf("the first request: %s", err)
			}
			return causeOf(err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close() // it was read to its end
		if err != nil {
			return causeOf(err)
		}
		if n == 0 {
			if err := kit.Sleep(ctx, idle); err != nil {
				return err
			}
		}
	}
	return nil
}

// causeOf drops the addresses, which differ from request to request.
func causeOf(err error) error {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return fmt.Errorf("%s", text)
}

// soakThroughAPIServer fills kube-apiserver's pool of idle connections and uses it
// again from 89 s to 91 s later.
func (s *suite) soakThroughAPIServer(ctx context.Context, t *testing.T) {
	client, err := load.NewClient(s.ours.target())
	if err != nil {
		t.Error(err)
		return
	}
	const n = 50
	samples := make([]load.Sample, 2*n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			samples[i] = client.Create(ctx, i, time.Now())
			if kit.Sleep(ctx, apiserverIdle-time.Second+time.Duration(i)*2*time.Second/n) == nil {
				samples[n+i] = client.Create(ctx, i, time.Now())
			}
		})
	}
	all.Wait()
	report := load.Report{Samples: samples}
	if report.Count(load.Admitted) != 2*n {
		t.Errorf("through kube-apiserver: %s %v", report, report.Causes())
	}
}
