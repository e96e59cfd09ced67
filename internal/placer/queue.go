package placer

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"sts-mutating-webhook/internal/placement"
	"sts-mutating-webhook/internal/printable"
)

// Failed patches are repeated after a wait that doubles between these bounds.
const minBackoff, maxBackoff = 50 * time.Millisecond, 30 * time.Second

// queue holds the pods that are to be looked at, by their uids. It lives as long as a
// watch of the pods, whose events it takes.
type queue struct {
	workqueue.TypedRateLimitingInterface[types.UID]
	*Placer
	forbidden chan struct{} // capacity 1: a patch was forbidden
}

func newQueue(p *Placer) *queue {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[types.UID](minBackoff, maxBackoff)
	return &queue{workqueue.NewTypedRateLimitingQueue(limiter), p, make(chan struct{}, 1)}
}

// OnAdd takes a pod that is not scheduled yet.
func (q *queue) OnAdd(object any, _ bool) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	if !gated(pod) || pod.DeletionTimestamp != nil {
		q.waiting.remove(pod.UID)
		return
	}
	q.waiting.put(pod, time.Now())
	q.AddAfter(pod.UID, delay(pod.UID, q.opts.Replica))
}

// OnUpdate takes a pod that has changed.
func (q *queue) OnUpdate(_, object any) { q.OnAdd(object, false) }

// OnDelete takes a pod that was scheduled or deleted.
func (q *queue) OnDelete(object any) {
	if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = last.Obj
	}
	if pod, ok := object.(*corev1.Pod); ok {
		q.waiting.remove(pod.UID)
	}
}

func gated(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.SchedulingGates, func(g corev1.PodSchedulingGate) bool { return g.Name == placement.Gate })
}

// delay spreads the replicas: for a pod each has another wait, of at most spread.
func delay(uid types.UID, replica string) time.Duration {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%s", uid, replica)
	return time.Duration(h.Sum64() % uint64(spread))
}

// work looks at one pod after the other until the queue is shut down.
func (q *queue) work(ctx context.Context) {
	for {
		uid, shutdown := q.Get()
		if shutdown {
			return
		}
		if again := q.place(ctx, uid); again {
			q.AddRateLimited(uid)
		} else {
			q.Forget(uid)
		}
		q.Done(uid)
	}
}

// place does what is decided about a pod. again: it is to be repeated.
func (q *queue) place(ctx context.Context, uid types.UID) (again bool) {
	pod := q.waiting.get(uid)
	if pod == nil {
		return false // another replica was first, or it was deleted
	}
	d := q.opts.Decide(pod)
	if len(d.Patch) == 0 {
		q.reportProblem(pod, d)
		return false
	}
	log := q.log.WithValues("namespace", pod.Namespace, "pod", pod.Name, "uid", uid)
	err := q.opts.Cluster.Patch(ctx, pod, withVersion(d.Patch, pod.ResourceVersion))
	switch {
	case err == nil:
		q.waiting.remove(uid)
		q.metrics.placedLate.Inc()
		log.Info("pod placed late", "waitedSeconds", int(time.Since(pod.CreationTimestamp.Time).Seconds()))
		report(d)
	case apierrors.IsNotFound(err):
		q.waiting.remove(uid)
	case apierrors.IsConflict(err): // it has changed: most often another replica was first
		return true
	case ctx.Err() == nil:
		log.Info("cannot place a pod that waits behind the scheduling gate", "cause", printable.Clip(err.Error(), 500))
		if apierrors.IsForbidden(err) {
			select {
			case q.forbidden <- struct{}{}:
			default:
			}
		}
		return true
	}
	return false
}

func report(d Decision) {
	if d.Report != nil {
		d.Report()
	}
}

// withVersion makes the patch one of that version of the pod only. Setting the
// resourceVersion is answered with 409 if there is another; a test that fails would
// be answered with 422, as what is wrong with the patch itself.
func withVersion(patch []byte, version string) []byte {
	return fmt.Appendf(nil, `[{"op":"add","path":"/metadata/resourceVersion","value":%q},%s`, version, patch[1:])
}

// reportProblem writes events about a pod that cannot be placed.
func (q *queue) reportProblem(pod *corev1.Pod, d Decision) {
	if d.Problem == "" {
		return
	}
	event, first := q.waiting.news(pod.UID, d.Problem, time.Now())
	q.AddAfter(pod.UID, repeatEvent)
	if !event {
		return
	}
	q.log.Info("pod cannot be placed", "namespace", pod.Namespace, "pod", pod.Name, "uid", pod.UID, "cause", d.Problem)
	if first {
		report(d)
	}
	if q.opts.Recorder == nil {
		return
	}
	message := problemMessage(pod, d.Problem)
	for _, object := range about(pod) {
		q.opts.Recorder.Event(object, corev1.EventTypeWarning, EventNotPlaced, message)
	}
}

// EventNotPlaced is the reason of the events about a pod that cannot be placed.
const EventNotPlaced = "NotPlaced"

// maxMessage is what Kubernetes takes as an event's message, in bytes.
const maxMessage = 1024

// problemMessage says what to do as well. A StatefulSet does not replace a Pending pod
// when its template is corrected (kubernetes issue 67250), so the pod has to be deleted.
func problemMessage(pod *corev1.Pod, problem string) string {
	end := "; then delete the pod, which its StatefulSet does not replace by itself: " +
		fmt.Sprintf("kubectl -n %s delete pod %s", pod.Namespace, pod.Name)
	begin := fmt.Sprintf("pod %s waits behind the scheduling gate %s: ", pod.Name, placement.Gate)
	return begin + printable.Clip(problem, max(0, maxMessage-len(begin)-len(end))) + end
}

// about returns references to the pod and to its controller.
func about(pod *corev1.Pod) []*corev1.ObjectReference {
	objects := []*corev1.ObjectReference{{
		APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
	}}
	if o := metav1.GetControllerOf(pod); o != nil {
		objects = append(objects, &corev1.ObjectReference{
			APIVersion: o.APIVersion, Kind: o.Kind, Namespace: pod.Namespace, Name: o.Name, UID: o.UID,
		})
	}
	return objects
}
