package load

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
)

// failure is a message as kube-apiserver 1.36 wrote it.
const failure = `Internal error occurred: failed calling webhook "sts-webhook.custom-system.svc": failed to call webhook: ` +
	`Post "https://sts-webhook.custom-system.svc:8443/mutate?timeout=5s": tls: failed to verify certificate: x509: certificate signed by unknown authority`

func TestClassify(t *testing.T) {
	status := func(message string) string {
		text, _ := json.Marshal(metav1.Status{Message: message})
		return string(text)
	}
	for name, tc := range map[string]struct {
		code  int
		body  string
		want  Outcome
		cause string
	}{
		"the selector of its ordinal is admitted":       {201, `{"spec":{"nodeSelector":{"name":"node1","disk":"ssd"}}}`, Admitted, ""},
		"the other group's selector is wrong":           {201, `{"spec":{"nodeSelector":{"name":"node2"}}}`, WrongSelector, "node selector node2, want node1"},
		"a pod behind our gate waits":                   {201, `{"spec":{"schedulingGates":[{"name":"sts-webhook.custom-system.svc/placement"}]}}`, Gated, "scheduling gate"},
		"a pod behind another gate has slipped through": {201, `{"spec":{"schedulingGates":[{"name":"example.com/quota"}]}}`, Unmutated, "no node selector"},
		"no selector is unmutated":                      {201, `{"spec":{}}`, Unmutated, "no node selector"},
		"another key alone is unmutated":                {201, `{"spec":{"nodeSelector":{"disk":"ssd"}}}`, Unmutated, "no node selector"},
		"a webhook that cannot be called is refused":    {500, status(failure), Refused, "tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		"a webhook that says no is denied":              {422, status(`admission webhook "x.y.z" denied the request: no owner`), Denied, `admission webhook "x.y.z" denied the request: no owner`},
		"an apiserver that starts is unavailable":       {403, status("pods is forbidden: not yet ready to handle request"), Unavailable, "pods is forbidden: not yet ready to handle request"},
		"an answer that is no JSON is unavailable":      {502, `<html>`, Unavailable, "answer is no JSON: Bad Gateway"},
		"an overloaded apiserver is unavailable (429)":  {429, status("too many requests"), Unavailable, "too many requests"},
	} {
		t.Run(name, func(t *testing.T) {
			got, why := classify(tc.code, []byte(tc.body), evenGroup)
			if got != tc.want || why != tc.cause {
				t.Errorf("got %s %q, want %s %q", got, why, tc.want, tc.cause)
			}
		})
	}
}

// startLoad begins a load on a server that answers like kube-apiserver, and places pods as the webhook would unless before is true.
func startLoad(t *testing.T, o Options, before func(w http.ResponseWriter) bool) *Run {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "/api/v1/namespaces/load/pods?dryRun=All" {
			t.Errorf("URL: got %s", r.URL)
		}
		if before(w) {
			return
		}
		var pod corev1.Pod
		if err := json.NewDecoder(r.Body).Decode(&pod); err != nil {
			t.Error(err)
		}
		var ordinal int
		if _, err := fmt.Sscanf(pod.Name, "load-%d", &ordinal); err != nil {
			t.Error(err)
		}
		pod.Spec.NodeSelector = map[string]string{"name": []string{"node1", "node2"}[ordinal%2]}
		w.WriteHeader(http.StatusCreated)
		if err := json.NewEncoder(w).Encode(pod); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	o.Target = Target{Config: &rest.Config{Host: s.URL}, Namespace: "load"}
	r, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// await waits until done, or fails with the load's report.
func await(t *testing.T, r *Run, done func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) { return done(), nil })
	if err != nil {
		t.Errorf("%v: %s", err, r.Report())
	}
}

func TestRun(t *testing.T) {
	t.Run("every creation up to the limit is sent and classified", func(t *testing.T) {
		var calls atomic.Int64
		r := startLoad(t, Options{Rate: 1000, Limit: 100}, func(w http.ResponseWriter) bool {
			if calls.Add(1)%10 != 0 {
				return false
			}
			w.WriteHeader(http.StatusInternalServerError)
			_ = json.NewEncoder(w).Encode(metav1.Status{Message: failure})
			return true
		})
		<-r.done
		got := r.Stop()
		if got.Count(Admitted) != 90 || got.Count(Refused) != 10 || got.Lost() != 10 || len(got.Samples) != 100 {
			t.Errorf("got %s, want 90 admitted and 10 refused: %v", got, got.Causes())
		}
	})
	t.Run("a slow answer does not slow the others, and the bound on concurrency holds", func(t *testing.T) {
		var under atomic.Int64
		hold := make(chan struct{})
		r := startLoad(t, Options{Rate: 2000, Limit: 40, Concurrency: 8}, func(http.ResponseWriter) bool {
			under.Add(1)
			<-hold
			return false
		})
		await(t, r, func() bool { return r.Report().Skipped >= 32 && under.Load() >= 8 })
		close(hold)
		if got := r.Stop(); got.Skipped != 32 || got.Count(Admitted) != 8 || under.Load() != 8 {
			t.Errorf("%d reached the server, %s; want 8, 8 admitted, 32 skipped", under.Load(), got)
		}
	})
	t.Run("a load on hold has nothing under way and starts nothing", func(t *testing.T) {
		var under atomic.Int64
		r := startLoad(t, Options{Rate: 1000, Concurrency: 8}, func(http.ResponseWriter) bool {
			under.Add(1)
			time.Sleep(10 * time.Millisecond)
			under.Add(-1)
			return false
		})
		await(t, r, func() bool { return len(r.Report().Samples) >= 10 })
		r.Hold()
		before := r.Report()
		time.Sleep(50 * time.Millisecond)
		held := r.Report()
		if n := under.Load(); n != 0 || len(held.Samples) != len(before.Samples) || held.Skipped == before.Skipped {
			t.Errorf("on hold: %d under way, %d samples after %d, %d skipped after %d; want none, no more, more",
				n, len(held.Samples), len(before.Samples), held.Skipped, before.Skipped)
		}
		r.Release()
		await(t, r, func() bool { return len(r.Report().Samples) >= len(held.Samples)+10 })
		r.Stop()
	})
	t.Run("an apiserver that does not listen is unavailable, not a loss", func(t *testing.T) {
		r, err := Start(t.Context(), Options{Target: Target{Config: &rest.Config{Host: "http://127.0.0.1:1"}, Namespace: "load"}, Rate: 1000, Limit: 5})
		if err != nil {
			t.Fatal(err)
		}
		<-r.done
		if got := r.Stop(); got.Count(Unavailable) != 5 || got.Lost() != 0 || got.Causes()["unavailable: connection refused"] != 5 {
			t.Errorf("got %s %v, want 5 unavailable for connection refused", got, got.Causes())
		}
	})
}

func TestReport(t *testing.T) {
	begin := time.Unix(1000, 0)
	at := func(ms int, o Outcome) Sample {
		return Sample{Start: begin.Add(time.Duration(ms) * time.Millisecond), Latency: 10 * time.Millisecond, Outcome: o}
	}
	r := Report{Samples: []Sample{
		at(5000, Refused), at(0, Admitted), at(100, Refused), at(900, Admitted), at(1050, Refused),
		at(4000, Unavailable), at(5400, Unmutated), at(6000, Refused), at(9000, Admitted),
	}}.sorted()
	out := r.Outage()
	if out.Lost != 3 || out.From != begin.Add(5*time.Second) || out.Length() != 1010*time.Millisecond {
		t.Errorf("outage: got %+v, want the three losses from 5.0 s to 6.01 s", out)
	}
	if last := r.LastLost(); last != begin.Add(6010*time.Millisecond) {
		t.Errorf("last loss: got %v", last)
	}
	if out := r.Outage(Unmutated); out.Lost != 1 || out.Length() != 10*time.Millisecond || r.LastLost(Unmutated) != out.To {
		t.Errorf("unmutated: got %+v, want one of 10 ms", out)
	}
	both := Join(Report{Samples: r.Samples[5:], Skipped: 1}, Report{Samples: r.Samples[:5], Skipped: 2})
	if !slices.Equal(both.Samples, r.Samples) || both.Skipped != 3 {
		t.Errorf("joined: got %+v, want %+v and 3 skipped", both, r)
	}
	if got, want := r.Seconds(begin.Add(time.Second)), []Second{{-1, 2, 1}, {0, 0, 1}, {4, 0, 2}, {5, 0, 1}, {8, 1, 0}}; !slices.Equal(got, want) {
		t.Errorf("second by second: got %v, want %v", got, want)
	}
	late := r.Since(begin.Add(1050 * time.Millisecond)).Until(begin.Add(5400 * time.Millisecond))
	if len(late.Samples) != 3 || late.Lost() != 2 {
		t.Errorf("between: got %d samples, %d lost; want 3 and 2", len(late.Samples), late.Lost())
	}
	if got := (Report{}); got.Outage().Length() != 0 || got.Latency(99) != 0 || !got.LastLost().IsZero() {
		t.Errorf("empty report: got %+v", got)
	}
	for i := range 100 {
		late.Samples = append(late.Samples, Sample{Latency: time.Duration(i+1) * time.Millisecond})
	}
	for p, want := range map[float64]time.Duration{0: 1, 50: 51, 99: 100, 100: 100} {
		if got := late.Latency(p); got != want*time.Millisecond {
			t.Errorf("percentile %v: got %v, want %v", p, got, want*time.Millisecond)
		}
	}
}
