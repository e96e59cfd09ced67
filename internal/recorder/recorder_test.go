package recorder

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var eventResource = schema.GroupResource{Resource: "events"}

// store is an API server's Events, by name.
type store struct {
	mu     sync.Mutex
	events map[string]corev1.Event
	calls  int
	// err, if not nil, is the answer to every call.
	err error
}

func (s *store) Create(e *corev1.Event) (*corev1.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.err != nil {
		return nil, s.err
	}
	if _, exists := s.events[e.Name]; exists {
		return nil, apierrors.NewAlreadyExists(eventResource, e.Name)
	}
	if s.events == nil {
		s.events = map[string]corev1.Event{}
	}
	s.events[e.Name] = *e
	return e, nil
}

func (s *store) Update(*corev1.Event) (*corev1.Event, error) { panic("not called") }

// Patch is called with an Event that holds what the patch says.
func (s *store) Patch(e *corev1.Event, _ []byte) (*corev1.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.err != nil {
		return nil, s.err
	}
	if _, exists := s.events[e.Name]; !exists {
		return nil, apierrors.NewNotFound(eventResource, e.Name)
	}
	s.events[e.Name] = *e
	return e, nil
}

// lines are the Events as a person reads them.
func (s *store) lines() map[string]int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := map[string]int32{}
	for _, e := range s.events {
		o := e.InvolvedObject
		lines[fmt.Sprintf("%s/%s %s %s %s: %s %s %s", o.Namespace, o.Name, o.APIVersion, o.Kind, o.UID, e.Type, e.Reason, e.Message)] += e.Count
	}
	return lines
}

func (s *store) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

var web = StatefulSet{APIVersion: "apps/v1", Namespace: "shop", Name: "web", UID: "u1"}

// run gives recorders that write to store, and ends them.
func run(t *testing.T, o Options, n int, do func(r []*Recorder)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var all []*Recorder
		var running sync.WaitGroup
		for range n {
			r := New(o)
			all = append(all, r)
			running.Go(func() { _ = r.Start(ctx) })
		}
		synctest.Wait()
		do(all)
		synctest.Wait()
		cancel()
		running.Wait()
	})
}

func TestEvents(t *testing.T) {
	const head = "shop/web apps/v1 StatefulSet u1: "
	for sentence, tc := range map[string]struct {
		do   func(r []*Recorder)
		want map[string]int32
	}{
		"a denial that repeats is one event with a count": {
			do: func(r []*Recorder) {
				for range 3 {
					r[0].Denied(web, "AnnotationMissing", "add it")
					synctest.Wait()
				}
			},
			want: map[string]int32{head + "Warning AnnotationMissing add it": 3}},
		"a revision has one event": {
			do: func(r []*Recorder) {
				for i := range 3 {
					r[0].Placed(web, "web-5d9", fmt.Sprintf("web-%d", i), "zone=a")
				}
			},
			want: map[string]int32{head + "Normal Placed revision web-5d9: pods are placed by their ordinal; the first was web-0, on zone=a": 1}},
		"a revision has one event though two replicas place": {
			do: func(r []*Recorder) {
				r[0].Placed(web, "web-5d9", "web-0", "zone=a")
				synctest.Wait()
				r[1].Placed(web, "web-5d9", "web-1", "zone=b")
			},
			want: map[string]int32{head + "Normal Placed revision web-5d9: pods are placed by their ordinal; the first was web-0, on zone=a": 1}},
		"each revision has its own, and each StatefulSet of the same name": {
			do: func(r []*Recorder) {
				r[0].Placed(web, "web-1", "web-0", "zone=a")
				r[0].Placed(web, "web-2", "web-0", "zone=b")
				anew := web
				anew.UID = "u2"
				r[0].Placed(anew, "web-2", "web-0", "zone=c")
			},
			want: map[string]int32{
				head + "Normal Placed revision web-1: pods are placed by their ordinal; the first was web-0, on zone=a":                           1,
				head + "Normal Placed revision web-2: pods are placed by their ordinal; the first was web-0, on zone=b":                           1,
				"shop/web apps/v1 StatefulSet u2: Normal Placed revision web-2: pods are placed by their ordinal; the first was web-0, on zone=c": 1,
			}},
		"a pod without a known owner has none": {
			do: func(r []*Recorder) {
				r[0].Denied(StatefulSet{Namespace: "shop", Name: "web"}, "AnnotationMissing", "add it")
				r[0].Placed(StatefulSet{Namespace: "shop", Name: "web"}, "web-1", "web-0", "zone=a")
			},
			want: map[string]int32{}},
		"a pod whose revision is missing or no label value has none": {
			do: func(r []*Recorder) {
				r[0].Placed(web, "", "web-0", "zone=a")
				r[0].Placed(web, "\x1b[2J", "web-0", "zone=a")
			},
			want: map[string]int32{}},
		"a long message is cut": {
			do:   func(r []*Recorder) { r[0].Denied(web, "AnnotationInvalid", strings.Repeat("x", 5000)) },
			want: map[string]int32{head + "Warning AnnotationInvalid " + strings.Repeat("x", 1024): 1}},
	} {
		t.Run(sentence, func(t *testing.T) {
			var s store
			run(t, Options{Sink: &s}, 2, tc.do)
			if diff := cmp.Diff(tc.want, s.lines()); diff != "" {
				t.Errorf("events differ (-want +got):\n%s", diff)
			}
		})
	}
}

// A controller tries a refused pod again and again.
func TestARefusedStatefulSetCostsFewCalls(t *testing.T) {
	var s store
	run(t, Options{Sink: &s}, 1, func(r []*Recorder) {
		for range 1000 {
			r[0].Denied(web, "AnnotationMissing", "add it")
			time.Sleep(time.Second)
		}
	})
	if s.calls < 25 || s.calls > 30 {
		t.Errorf("got %d calls for 1000 denials in 1000 s, want 25 and one more each 300 s", s.calls)
	}
}

func TestEventsThatCannotBeWritten(t *testing.T) {
	registry := prometheus.NewRegistry()
	var log []string
	s := store{err: apierrors.NewForbidden(eventResource, "", nil)}
	o := Options{Sink: &s, Registerer: registry, Log: funcr.New(func(_, args string) { log = append(log, args) }, funcr.Options{})}
	run(t, o, 1, func(r []*Recorder) {
		deny := func(reason string) {
			r[0].Denied(web, reason, "text")
			synctest.Wait()
			time.Sleep(time.Millisecond) // names hold the time
		}
		deny("A")
		deny("B")
		s.set(nil)
		deny("C")
		deny("D")
	})
	if len(log) != 2 || !strings.Contains(log[0], "12-rbac-events.yaml") || !strings.Contains(log[1], "written again") {
		t.Errorf("got the log %q, want one line that says what to do, and one that it works again", log)
	}
	want := `
# HELP sts_webhook_events_total Events on StatefulSets that the apiserver took (written), and calls that it refused or that did not reach it (failed).
# TYPE sts_webhook_events_total counter
sts_webhook_events_total{result="failed"} 2
sts_webhook_events_total{result="written"} 2
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoFailure(t *testing.T) {
	var log []string
	terminating := apierrors.NewForbidden(eventResource, "", nil)
	terminating.ErrStatus.Details.Causes = append(terminating.ErrStatus.Details.Causes, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause})
	for _, err := range []error{terminating, apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "shop"), apierrors.NewAlreadyExists(eventResource, "web")} {
		s := store{err: err}
		run(t, Options{Sink: &s, Log: funcr.New(func(_, args string) { log = append(log, args) }, funcr.Options{})}, 1, func(r []*Recorder) {
			r[0].Denied(web, "AnnotationMissing", "add it")
		})
		if s.calls == 0 {
			t.Errorf("%v: not called", err)
		}
	}
	if len(log) > 0 {
		t.Errorf("got the log %q, want none", log)
	}
}

// The caller is the path of a request.
func TestACallNeverBlocks(t *testing.T) {
	r := New(Options{Sink: &store{}}) // not started: nothing is taken away
	done := make(chan struct{})
	go func() {
		for i := range 5000 {
			r.Denied(web, fmt.Sprint("R", i), "text")
			r.Placed(web, fmt.Sprint("web-", i), "web-0", "zone=a")
		}
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("10,000 calls are not done after 20 s, though nobody takes the events")
	}
	r.broadcaster.Shutdown()
	if got := r.revisions.Len(); got != maxRevisions {
		t.Errorf("%d revisions are remembered, want %d", got, maxRevisions)
	}
	var none *Recorder
	none.Denied(web, "R", "text")
	none.Placed(web, "web-1", "web-0", "zone=a")
	if err := none.Start(t.Context()); err != nil {
		t.Errorf("a nil recorder: %v", err)
	}
}

func TestNamesAreNeverTooLong(t *testing.T) {
	long := web
	long.Name = strings.Repeat("a", 253)
	var s store
	run(t, Options{Sink: &s}, 1, func(r []*Recorder) {
		r[0].Placed(long, "web-1", "web-0", "zone=a")
		synctest.Wait()
		r[0].Denied(long, "R", "text")
	})
	if len(s.events) != 2 {
		t.Fatalf("got %d events, want 2", len(s.events))
	}
	for name := range maps.Keys(s.events) {
		if len(name) > 253 {
			t.Errorf("the name %q has %d bytes, want at most 253", name, len(name))
		}
	}
}
