package rollout

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

const (
	// recreatePace is how often the pods of byParity are deleted; their StatefulSet creates them again.
	recreatePace = 500 * time.Millisecond
	// probesAtOnce is the size of a burst of dry runs of byList.
	probesAtOnce = 32
	probePace    = time.Second
	// maxProbes bounds a burst that has to reach new replicas; kube-apiserver takes some seconds for it.
	maxProbes = 512
	// mixedTime is for how long both versions have to answer.
	mixedTime = 2 * time.Second
)

// traffic is creations of pods of both forms while versions change.
type traffic struct {
	client    kubernetes.Interface
	namespace string
	// dryRuns are of the form that every version knows, 50 a second; canary is as for an event.
	dryRuns, canary *load.Run
	// end stops the goroutines in running.
	end     context.CancelFunc
	running sync.WaitGroup

	// mu guards the rest.
	mu sync.Mutex
	// created counts the pods of each StatefulSet; lastByList is when the newest of byList was seen.
	created    map[string]int
	lastByList time.Time
	// placed and refused are the answers to dry runs of byList: of the version that knows it, and of the other one.
	placed, refused span
	// wrong counts, by its description, what must not happen to any pod.
	wrong map[string]int
}

// span is the time from the first to the last of n answers.
type span struct {
	n           int
	first, last time.Time
}

func (s *span) add(at time.Time) {
	if s.n++; s.n == 1 {
		s.first = at
	}
	s.last = at
}

// startTraffic returns when every pod that is created from now on is seen.
func startTraffic(ctx context.Context, t *testing.T, s *suite, namespace string) *traffic {
	t.Helper()
	ctx, end := context.WithCancel(ctx)
	r := &traffic{client: s.Client, namespace: namespace, end: end, created: map[string]int{}, wrong: map[string]int{}}
	seen, err := s.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	kit.Must(t, err)
	pods, err := s.Client.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: seen.ResourceVersion})
	kit.Must(t, err)
	r.canary, err = s.startCanary(ctx)
	kit.Must(t, err)
	r.dryRuns, err = s.ours.startLoad(ctx)
	kit.Must(t, err)
	r.running.Go(func() { r.watch(ctx, pods) })
	r.running.Go(func() { every(ctx, recreatePace, r.recreate) })
	r.running.Go(func() { every(ctx, probePace, func(ctx context.Context) { r.probe(ctx, probesAtOnce) }) })
	return r
}

// stop ends everything and waits for it. It may be called again.
func (r *traffic) stop() {
	r.dryRuns.Stop()
	r.canary.Stop()
	r.end()
	r.running.Wait()
}

func every(ctx context.Context, pace time.Duration, do func(context.Context)) {
	for kit.Sleep(ctx, pace) == nil {
		do(ctx)
	}
}

func (r *traffic) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong[fmt.Sprintf(format, args...)]++
}

func (r *traffic) watch(ctx context.Context, pods watch.Interface) {
	defer pods.Stop()
	for e := range pods.ResultChan() {
		pod, ok := e.Object.(*corev1.Pod)
		if !ok {
			break // an error, as at the end of ctx
		}
		if e.Type != watch.Added {
			continue
		}
		f := formOf(pod)
		if text := f.misplaced(pod); text != "" {
			r.fail("misplaced: %s", text)
		}
		r.mu.Lock()
		r.created[f.set]++
		if f.set == byList.set {
			r.lastByList = time.Now()
		}
		r.mu.Unlock()
	}
	if ctx.Err() == nil {
		r.fail("the watch of pods ended before the test did")
	}
}

// recreate deletes the pods of byParity, which are gone at once since they are on no node.
func (r *traffic) recreate(ctx context.Context) {
	err := r.client.CoreV1().Pods(r.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "set=" + byParity.set})
	if err != nil && ctx.Err() == nil {
		r.fail("delete pods: %v", err)
	}
}

// probe sends n dry runs of byList at once.
func (r *traffic) probe(ctx context.Context, n int) {
	ctx = context.WithoutCancel(ctx) // a request once sent is always seen to its end
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			pod := byList.pod(setReplicas + i) // those below exist
			made, err := r.client.CoreV1().Pods(r.namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			r.answered(made, err)
		})
	}
	all.Wait()
}

// answered notes the answer to a dry run of byList.
func (r *traffic) answered(made *corev1.Pod, err error) {
	if err != nil && err.Error() != refusal {
		r.fail("dry run of the newer form: %v", err)
		return
	}
	if err == nil && byList.misplaced(made) != "" {
		r.fail("misplaced: %s", byList.misplaced(made))
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.refused.add(time.Now())
		return
	}
	r.placed.add(time.Now())
}

// bothAnswered is for how long both versions did.
func (r *traffic) bothAnswered() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.placed.n == 0 || r.refused.n == 0 {
		return 0
	}
	begin, end := r.placed.first, r.placed.last
	if r.refused.first.After(begin) {
		begin = r.refused.first
	}
	if r.refused.last.Before(end) {
		end = r.refused.last
	}
	return max(0, end.Sub(begin))
}

// lost counts, by its description, what was refused or misplaced, of all pods. Only newer forms may be refused, and only as the
// previous version does it.
func (r *traffic) lost(ctx context.Context, t *testing.T) map[string]int {
	t.Helper()
	lost := maps.Clone(r.wrong)
	if report := r.dryRuns.Report(); report.Lost() > 0 {
		maps.Copy(lost, report.Causes())
	}
	for f, allowed := range map[string]string{byParity.set: "", byList.set: refusal} {
		for _, message := range failedCreates(ctx, t, r.client, r.namespace, f) {
			if !refusedAs(message, allowed) {
				lost[message]++
			}
		}
	}
	return lost
}

// expect reports a run in which a pod was lost, or that proves too little.
func (r *traffic) expect(t *testing.T, lost map[string]int) {
	t.Helper()
	for what, n := range lost {
		t.Errorf("%d x %s", n, what)
	}
	if n, pods := r.dryRuns.Report().Count(load.Admitted), r.created[byParity.set]; n < 100 || pods < 50 {
		t.Errorf("%d creations and %d pods of a StatefulSet, too few to prove anything", n, pods)
	}
	if both := r.bothAnswered(); both < mixedTime {
		t.Errorf("both versions answered for %v, want %v at least: %d placed, %d refused", both, mixedTime, r.placed.n, r.refused.n)
	}
}

// String is what was measured.
func (r *traffic) String() string {
	return fmt.Sprintf("%s; pods created %v; newer form: %d placed, %d refused, both for %.1f s; longest creation that no webhook sees %.1f s",
		r.dryRuns.Report(), r.created, r.placed.n, r.refused.n, r.bothAnswered().Seconds(), longest(r.canary.Report()).Seconds())
}
