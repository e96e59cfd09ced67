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
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

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
	*suite
	namespace string
	// loads are dry runs of the form that every version knows; report and stall are what they saw, after stop.
	loads  loads
	report load.Report
	stall  time.Duration
	begin  time.Time
	// end stops the goroutines in running.
	end     context.CancelFunc
	running sync.WaitGroup

	// mu guards the rest.
	mu sync.Mutex
	// created counts the pods of each StatefulSet. Times count from begin: lastByList is when the newest pod of byList was seen.
	created    map[string]int
	lastByList time.Duration
	// placed and refused are the times of the answers to dry runs of byList: of the version that knows it, and of the other one.
	placed, refused []time.Duration
	// wrong counts, by its description, what must not happen to any pod.
	wrong map[string]int
}

// startTraffic returns when every pod that is created from now on is seen.
func (s *suite) startTraffic(t *testing.T, namespace string) *traffic {
	t.Helper()
	ctx, end := context.WithCancel(s.Ctx)
	r := &traffic{suite: s, namespace: namespace, begin: time.Now(), end: end, created: map[string]int{}, wrong: map[string]int{}}
	factory := informers.NewSharedInformerFactoryWithOptions(s.Client, 0, informers.WithNamespace(namespace))
	pods := factory.Core().V1().Pods().Informer()
	kit.Must(t, pods.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		if ctx.Err() == nil { // pods may have come and gone until it lists them again
			r.fail("the watch of pods broke: %v", err)
		}
	}))
	_, err := pods.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(object any, before bool) {
			if !before {
				r.see(object.(*corev1.Pod))
			}
		},
		UpdateFunc: func(old, object any) {
			if pod := object.(*corev1.Pod); pod.UID != old.(*corev1.Pod).UID {
				r.see(pod) // deleted and created anew
			}
		},
	})
	kit.Must(t, err)
	factory.Start(ctx.Done())
	r.running.Go(func() {
		<-ctx.Done()
		factory.Shutdown()
	})
	factory.WaitForCacheSync(ctx.Done())
	r.loads = s.startLoads(t, s.ours.optIn)
	r.running.Go(func() { wait.UntilWithContext(ctx, r.recreate, recreatePace) })
	r.running.Go(func() {
		wait.UntilWithContext(ctx, func(ctx context.Context) { r.probe(ctx, probesAtOnce) }, probePace)
	})
	return r
}

// stop ends everything and waits for it.
func (r *traffic) stop() {
	r.report, r.stall = r.loads.stop()
	r.end()
	r.running.Wait()
}

func (r *traffic) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong[fmt.Sprintf(format, args...)]++
}

// see checks a pod that a StatefulSet has created.
func (r *traffic) see(pod *corev1.Pod) {
	f := byParity
	if pod.Labels[kit.SetLabel] == byList.set {
		f = byList
	}
	if text := f.misplaced(pod); text != "" {
		r.fail("misplaced: %s", text)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.created[f.set]++
	if f.set == byList.set {
		r.lastByList = time.Since(r.begin)
	}
}

// recreate deletes the pods of byParity, which are gone at once since they are on no node.
func (r *traffic) recreate(ctx context.Context) {
	selector := metav1.ListOptions{LabelSelector: kit.SetLabel + "=" + byParity.set}
	err := r.Client.CoreV1().Pods(r.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, selector)
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
			pod := kit.OwnedPod(byList.set, setReplicas+i, byList.rule) // the ordinals below exist
			made, err := r.Client.CoreV1().Pods(r.namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			r.answered(made, err)
		})
	}
	all.Wait()
}

// answered notes the answer to a dry run of byList.
func (r *traffic) answered(made *corev1.Pod, err error) {
	refused := err != nil && err.Error() == refusal
	if err != nil && !refused {
		r.fail("dry run of the newer form: %v", err)
		return
	}
	if err == nil && byList.misplaced(made) != "" {
		r.fail("misplaced: %s", byList.misplaced(made))
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if refused {
		r.refused = append(r.refused, time.Since(r.begin))
	} else {
		r.placed = append(r.placed, time.Since(r.begin))
	}
}

// bothAnswered is for how long both versions did.
func (r *traffic) bothAnswered() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.placed) == 0 || len(r.refused) == 0 {
		return 0
	}
	end := min(r.placed[len(r.placed)-1], r.refused[len(r.refused)-1])
	return max(0, end-max(r.placed[0], r.refused[0]))
}

// lost counts, by its description, what was refused or misplaced, of all pods. Only byList may be refused, and only as the previous
// version does it.
func (r *traffic) lost(t *testing.T) map[string]int {
	t.Helper()
	lost := maps.Clone(r.wrong)
	if r.report.Lost() > 0 {
		maps.Copy(lost, r.report.Causes())
	}
	for _, message := range r.failedCreates(t, r.namespace, byParity) {
		lost[message]++
	}
	for _, message := range r.failedCreates(t, r.namespace, byList) {
		if !isRefusal(message) {
			lost[message]++
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
	if n, pods := r.report.Count(load.Admitted), r.created[byParity.set]; n < 100 || pods < 50 {
		t.Errorf("%d creations and %d pods of a StatefulSet, too few to prove anything", n, pods)
	}
	if both := r.bothAnswered(); both < mixedTime {
		t.Errorf("both versions answered for %v, want %v at least: %d placed, %d refused", both, mixedTime, len(r.placed), len(r.refused))
	}
}

// String is what was measured.
func (r *traffic) String() string {
	return fmt.Sprintf("%s; pods created %v; newer form: %d placed, %d refused, both for %.1f s; longest creation that no webhook sees %.1f s",
		r.report, r.created, len(r.placed), len(r.refused), r.bothAnswered().Seconds(), r.stall.Seconds())
}
