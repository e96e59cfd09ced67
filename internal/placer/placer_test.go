package placer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"sts-mutating-webhook/internal/placement"
)

// replica is a Placer under test and what it reported.
type replica struct {
	registry *prometheus.Registry
	// mu guards the rest.
	mu      sync.Mutex
	events  []string
	reports []string
	states  []State
}

func (r *replica) Event(object runtime.Object, eventType, reason, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := object.(*corev1.ObjectReference)
	r.events = append(r.events, fmt.Sprintf("%s %s of %s %s/%s (%s): %s", eventType, reason, o.Kind, o.Namespace, o.Name, o.UID, message))
}

func (r *replica) seen() (events, reports []string, states []State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events), slices.Clone(r.reports), slices.Clone(r.states)
}

// decide places every pod but those whose name begins with "bad": those have a problem
// until a label says that they are mended.
func (r *replica) decide(pod *corev1.Pod) Decision {
	report := func(what string) func() {
		return func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.reports = append(r.reports, what+" "+pod.Name)
		}
	}
	if pod.Name[:3] == "bad" && pod.Labels["mended"] == "" {
		return Decision{Problem: "its rule is wrong", Report: report("refused")}
	}
	return Decision{Patch: []byte(`[{"op":"remove","path":"/spec/schedulingGates/0"}]`), Report: report("placed")}
}

// start runs a replica until the end of the test.
func start(t *testing.T, c *fakeCluster, name string) *replica {
	t.Helper()
	r := &replica{registry: prometheus.NewPedanticRegistry()}
	p := New(Options{
		Cluster: c, Decide: r.decide, Recorder: r, Replica: name, Log: logr.Discard(), Registerer: r.registry,
		Changed: func(s State) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.states = append(r.states, s)
		},
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Start returned %v", err)
		}
	})
	synctest.Wait()
	return r
}

func (r *replica) metric(t *testing.T, name string) float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.Metric[0].GetGauge().GetValue() + f.Metric[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func TestEveryPodIsPlacedOnceByWhicheverReplica(t *testing.T) {
	for replicas := 1; replicas <= 3; replicas++ {
		t.Run(fmt.Sprintf("%d replicas", replicas), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newFakeCluster(t)
				const pods = 200
				for i := range pods / 2 { // stored before anybody was there
					c.create(fmt.Sprintf("web-%d", i), "example.com/quota", placement.Gate)
				}
				var all []*replica
				for i := range replicas {
					all = append(all, start(t, c, fmt.Sprintf("replica-%d", i)))
				}
				for i := range pods / 2 { // and while they are
					c.create(fmt.Sprintf("web-%d", pods/2+i), placement.Gate)
				}
				c.create("foreign-0", "example.com/quota")
				c.create("free-0")
				time.Sleep(time.Second)
				if got := c.placed(); len(got) != pods || slices.Contains(got, "foreign-0") || slices.Contains(got, "free-0") {
					t.Errorf("after a second %d pods are placed, want the %d behind our gate: %v", len(got), pods, got)
				}
				// A conflict is an attempt that another replica has made vain.
				if n := len(c.attempts); n > pods+pods/10 {
					t.Errorf("%d patches for %d pods, want at most a tenth more", n, pods)
				}
				total := 0.0
				for _, r := range all {
					total += r.metric(t, "sts_webhook_placed_late_total")
					if n := r.metric(t, "sts_webhook_gated_pods"); n != 0 {
						t.Errorf("%v pods are said to wait, want 0", n)
					}
				}
				if total != pods {
					t.Errorf("%v pods are counted, want %d", total, pods)
				}
			})
		})
	}
}

func TestItWorksWhileItHasTheRightTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t)
		c.set(func(c *fakeCluster) { c.allowed = false })
		start(t, c, "replica-0")
		c.create("web-0", placement.Gate)
		time.Sleep(time.Minute)
		if c.watches() != 0 || len(c.attempts) != 0 {
			t.Fatalf("without the right: %d watches, %d patches, want none", c.watches(), len(c.attempts))
		}
		c.set(func(c *fakeCluster) { c.allowed = true })
		time.Sleep(checkRight + time.Second)
		if got := c.placed(); !slices.Equal(got, []string{"web-0"}) {
			t.Errorf("with the right it placed %v, want web-0", got)
		}
		c.set(func(c *fakeCluster) { c.allowed = false })
		time.Sleep(checkRight + time.Second)
		if n := c.watches(); n != 0 {
			t.Errorf("after the right was lost: %d watches, want none", n)
		}
		c.set(func(c *fakeCluster) { c.allowed = true })
		time.Sleep(checkRight + time.Second)
		c.set(func(c *fakeCluster) { c.allowed, c.fail = false, forbidden })
		c.create("web-1", placement.Gate)
		time.Sleep(3 * time.Second)
		if n := c.watches(); n != 0 {
			t.Errorf("3 s after a patch was forbidden: %d watches, want none", n)
		}
	})
}

var forbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "web-1", nil)

func TestAPatchThatFailsIsRepeatedWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t)
		c.set(func(c *fakeCluster) { c.fail = errors.New("etcdserver: request timed out") })
		start(t, c, "replica-0")
		c.create("web-0", placement.Gate)
		time.Sleep(time.Minute)
		var attempts []time.Time
		c.set(func(c *fakeCluster) { c.fail, attempts = nil, slices.Clone(c.attempts) })
		if n := len(attempts); n < 8 || n > 12 {
			t.Errorf("%d attempts in a minute, want about 10", n)
		}
		for i := 2; i < len(attempts); i++ {
			if attempts[i].Sub(attempts[i-1]) <= attempts[i-1].Sub(attempts[i-2]) {
				t.Errorf("attempts at %v: the pauses do not grow", attempts)
			}
		}
		time.Sleep(maxBackoff + time.Second)
		if got := c.placed(); !slices.Equal(got, []string{"web-0"}) {
			t.Errorf("placed %v, want web-0", got)
		}
	})
}

func TestAPodThatChangedIsPlacedAsItNowIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t)
		c.create("web-0", placement.Gate)
		c.create("web-1", placement.Gate)
		start(t, c, "replica-0")
		for range 40 { // another program writes all the time
			c.set(func(c *fakeCluster) {
				c.store("web-0", func(pod *corev1.Pod) { pod.Labels = map[string]string{"x": "y"} })
			})
			time.Sleep(3 * time.Millisecond)
		}
		c.remove("web-1")
		time.Sleep(2 * time.Second)
		if got := c.placed(); !slices.Equal(got, []string{"web-0"}) {
			t.Errorf("placed %v, want web-0", got)
		}
	})
}

func TestAPodThatCannotBePlacedIsExplainedWhereItsOwnerLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t)
		r := start(t, c, "replica-0")
		c.create("bad-0", placement.Gate)
		time.Sleep(20 * time.Minute)
		c.set(func(c *fakeCluster) {
			c.store("bad-0", func(pod *corev1.Pod) { pod.Labels = map[string]string{"x": "y"} }) // no other problem
		})
		time.Sleep(time.Minute)
		const message = "pod bad-0 waits behind the scheduling gate sts-webhook.custom-system.svc/placement: its rule is wrong; " +
			"then delete the pod, which its StatefulSet does not replace by itself: kubectl -n shop delete pod bad-0"
		want := []string{
			"Warning NotPlaced of Pod shop/bad-0 (uid-bad-0): " + message,
			"Warning NotPlaced of StatefulSet shop/web (uid-set): " + message,
		}
		events, reports, states := r.seen()
		if diff := cmp.Diff(want, events); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"refused bad-0"}, reports); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]State{{1, "shop/bad-0"}}, states); diff != "" {
			t.Errorf("states (-want +got):\n%s", diff)
		}
		if n, age := r.metric(t, "sts_webhook_gated_pods"), r.metric(t, "sts_webhook_gated_oldest_age_seconds"); n != 1 || age < 1200 || age > 1300 {
			t.Errorf("metrics: %v pods, the oldest of %v s, want 1 of 1260", n, age)
		}
		time.Sleep(repeatEvent)
		if events, _, _ := r.seen(); len(events) != 4 {
			t.Errorf("%d events after another half hour, want the same two again: %v", len(events), events)
		}
		c.set(func(c *fakeCluster) {
			c.store("bad-0", func(pod *corev1.Pod) { pod.Labels = map[string]string{"mended": "yes"} })
		})
		time.Sleep(time.Minute)
		_, reports, states = r.seen()
		if diff := cmp.Diff([]string{"refused bad-0", "placed bad-0"}, reports); diff != "" {
			t.Errorf("reports after it was mended (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]State{{1, "shop/bad-0"}, {}}, states); diff != "" {
			t.Errorf("states after it was mended (-want +got):\n%s", diff)
		}
	})
}

func TestPodsThatWaitedForTheReplicaAreNoAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCluster(t)
		for i := range 50 {
			c.create(fmt.Sprintf("web-%d", i), placement.Gate)
		}
		time.Sleep(time.Hour)
		c.set(func(c *fakeCluster) { c.fail = errors.New("too many requests") })
		r := start(t, c, "replica-0")
		time.Sleep(settling * 11 / 20)
		c.set(func(c *fakeCluster) { c.fail = nil })
		time.Sleep(time.Hour)
		if _, _, states := r.seen(); len(states) != 0 || len(c.placed()) != 50 {
			t.Errorf("got states %v and %d pods placed, want none and 50", states, len(c.placed()))
		}
	})
}

func TestEverySeriesIsThereFromTheStart(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	New(Options{Registerer: registry, Log: logr.Discard()})
	if n, err := testutil.GatherAndCount(registry); n != 3 || err != nil {
		t.Errorf("got %d series, %v, want 3", n, err)
	}
}
