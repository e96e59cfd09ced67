package rollout

import (
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
	s.ours.settle(t)
	type soak struct {
		name, address string
		rests         []time.Duration
		lost          int
		causes        map[string]int
	}
	rests := []time.Duration{apiserverIdle, apiserverIdle - time.Second}
	soaks := []*soak{{name: "ours", address: net.JoinHostPort(s.ours.replica(t, nil).Status.PodIP, "8443"), rests: rests}}
	for _, idle := range rests {
		control := s.startStandin(t, idle, func(int32, http.ResponseWriter) bool { return false })
		name, address := fmt.Sprintf("a server with IdleTimeout %s", idle), control.Listener.Addr().String()
		soaks = append(soaks, &soak{name: name, address: address, rests: []time.Duration{idle}})
	}
	var all sync.WaitGroup
	all.Go(func() { s.soakThroughAPIServer(t) })
	for _, o := range soaks {
		all.Go(func() { o.lost, o.causes = s.soak(o.address, o.rests) })
	}
	all.Wait()
	var parts []string
	for _, o := range soaks {
		t.Logf("%s: %d requests, %d lost: %v", o.name, soakers, o.lost, o.causes)
		parts = append(parts, fmt.Sprintf("%s lost %d of %d", o.name, o.lost, soakers))
	}
	if soaks[0].lost > 0 {
		t.Errorf("ours lost %d: %v", soaks[0].lost, soaks[0].causes)
	}
	if soaks[1].lost+soaks[2].lost == 0 {
		t.Error("the controls lost nothing: the soak does not hit the race")
	}
	s.Remark("Second requests on connections that were idle for 89 s or 90 s (give or take %s), over client-go's transport: %s.",
		soakJitter, strings.Join(parts, "; "))
}

// soak sends two requests on each of its connections, which rest between them for one of these times, in turn.
func (s *suite) soak(address string, rests []time.Duration) (lost int, causes map[string]int) {
	errs := make([]error, soakers)
	var all sync.WaitGroup
	for i := range soakers {
		all.Go(func() {
			s.Pause(time.Duration(i) * soakSpread / soakers)
			errs[i] = s.sendTwice(address, rests[i%len(rests)]-soakJitter+rand.N(2*soakJitter))
		})
	}
	all.Wait()
	causes = map[string]int{}
	for _, err := range errs {
		if err != nil {
			lost++
			causes[err.Error()]++
		}
	}
	return lost, causes
}

// sendTwice sends a request, rests, and sends another one over the same connection.
func (s *suite) sendTwice(address string, idle time.Duration) error {
	client, err := rest.HTTPClientFor(&rest.Config{
		Host: "https://" + address, TLSClientConfig: rest.TLSClientConfig{Insecure: true},
		Dial: s.Cluster.Dialer("node-1"), // a function of its own: the transport is shared with nobody
	})
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	send := func() error {
		// As kube-apiserver's, the body cannot be read again, so net/http does not repeat the request.
		request, err := http.NewRequestWithContext(s.Ctx, http.MethodPost, "https://"+address+"/mutate", io.NopCloser(strings.NewReader("{}")))
		if err != nil {
			return err
		}
		request.ContentLength = 2
		request.Header.Set("Content-Type", "application/json")
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	if err := send(); err != nil {
		return fmt.Errorf("the first request: %s", load.Cause(err))
	}
	if err := kit.Sleep(s.Ctx, idle); err != nil {
		return err
	}
	if err := send(); err != nil {
		return fmt.Errorf("the second request: %s", load.Cause(err))
	}
	return nil
}

// soakThroughAPIServer fills kube-apiserver's pool of idle connections and uses it
// again from 89 s to 91 s later.
func (s *suite) soakThroughAPIServer(t *testing.T) {
	client, err := load.NewClient(s.target(s.ours.optIn))
	if err != nil {
		t.Error(err)
		return
	}
	const n = 50
	report := load.Report{Samples: make([]load.Sample, 2*n)}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			report.Samples[i] = client.Create(s.Ctx, i, time.Now())
			s.Pause(apiserverIdle - time.Second + time.Duration(i)*2*time.Second/n)
			report.Samples[n+i] = client.Create(s.Ctx, i, time.Now())
		})
	}
	all.Wait()
	if report.Count(load.Admitted) != 2*n {
		t.Errorf("through kube-apiserver: %s %v", report, report.Causes())
	}
}
