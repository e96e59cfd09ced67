package placer

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// waiting remembers the pods behind the gate.
type waiting struct {
	// mu guards the rest.
	mu   sync.Mutex
	pods map[types.UID]*waitingPod
}

// waitingPod is what is known of a pod behind the gate.
type waitingPod struct {
	pod        *corev1.Pod // as last seen; read only
	seen       time.Time   // when this replica saw it first
	problem    string      // what was last written into events
	reportedAt time.Time   // when that was
}

func newWaiting() *waiting { return &waiting{pods: map[types.UID]*waitingPod{}} }

// put stores what is now known of the pod.
func (w *waiting) put(pod *corev1.Pod, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := w.pods[pod.UID]; at != nil {
		at.pod = pod
		return
	}
	w.pods[pod.UID] = &waitingPod{pod: pod, seen: now}
}

// get returns nil for a pod that does not wait any more.
func (w *waiting) get(uid types.UID) *corev1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at := w.pods[uid]; at != nil {
		return at.pod
	}
	return nil
}

func (w *waiting) remove(uid types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.pods, uid)
}

func (w *waiting) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.pods)
}

// news notes a pod's problem. event reports whether it is to be written into events,
// first whether it is another one than before.
func (w *waiting) news(uid types.UID, problem string, now time.Time) (event, first bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.pods[uid]
	if at == nil {
		return false, false
	}
	first = at.problem != problem
	event = first || now.Sub(at.reportedAt) >= repeatEvent
	if event {
		at.problem, at.reportedAt = problem, now
	}
	return event, first
}

// count returns how many pods wait, and when the oldest was created.
func (w *waiting) count() (n int, oldest time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, at := range w.pods {
		if created := at.pod.CreationTimestamp.Time; oldest.IsZero() || created.Before(oldest) {
			oldest = created
		}
	}
	return len(w.pods), oldest
}

// long returns how many pods have waited for long, and one of them that has waited longest.
func (w *waiting) long(now time.Time) State {
	w.mu.Lock()
	defer w.mu.Unlock()
	var s State
	var oldest time.Time
	for _, at := range w.pods {
		created := at.pod.CreationTimestamp.Time
		if now.Sub(created) < longWait || now.Sub(at.seen) < settling {
			continue
		}
		s.Waiting++
		name := at.pod.Namespace + "/" + at.pod.Name
		if s.Pod == "" || created.Before(oldest) || created.Equal(oldest) && name < s.Pod {
			s.Pod, oldest = name, created
		}
	}
	return s
}
