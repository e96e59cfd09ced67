package rollout

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"

	"sts-mutating-webhook/test/kit"
)

// drains are the replicas that have drained while the test ran. Their own last
// log lines say how long after SIGTERM the Service still sent connections; the
// logs are followed, since they are gone with the pod.
type drains struct {
	mu      sync.Mutex // guards the rest
	newest  []time.Duration
	took    []time.Duration
	unclean int
}

// watchDrains follows the log of every replica of f, until the test ends.
func watchDrains(t *testing.T, f *fleet) *drains {
	ctx, stop := context.WithCancel(f.Ctx)
	d, followed := &drains{}, sets.New[types.UID]()
	var running sync.WaitGroup
	running.Go(func() {
		wait.UntilWithContext(ctx, func(ctx context.Context) {
			pods, err := f.pods()
			if err != nil {
				return // the next look will do
			}
			for _, pod := range pods.Items {
				if kit.Ready(pod) && !followed.Has(pod.UID) {
					followed.Insert(pod.UID)
					running.Go(func() { d.follow(ctx, t, f, pod) })
				}
			}
		}, 50*time.Millisecond)
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return d
}

// follow returns when the pod ends. A killed container ends the stream of its log, too, and its successor is followed; so does what
// breaks the stream, which then is tried again.
func (d *drains) follow(ctx context.Context, t *testing.T, f *fleet, pod corev1.Pod) {
	pods := f.Client.CoreV1().Pods(f.namespace)
	_ = wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (ended bool, _ error) {
		if stream, err := pods.GetLogs(pod.Name, &corev1.PodLogOptions{Follow: true, TailLines: new(int64)}).Stream(ctx); err == nil {
			d.read(t, stream)
		}
		now, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		return err != nil || now.UID != pod.UID || now.DeletionTimestamp != nil, nil
	})
}

// read notes a drain that the log reports.
func (d *drains) read(t *testing.T, stream io.ReadCloser) {
	defer stream.Close()
	lines := bufio.NewScanner(stream)
	for lines.Scan() {
		var entry struct {
			Msg                         string
			Complete                    bool
			Took, NewestConnectionAfter string
		}
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil || entry.Msg != "drained" {
			continue
		}
		took, err := time.ParseDuration(entry.Took)
		newest, err2 := time.ParseDuration(entry.NewestConnectionAfter)
		if err != nil || err2 != nil {
			t.Errorf("read the log of a drain: %v, %v in %s", err, err2, lines.Text())
		}
		d.mu.Lock()
		d.newest, d.took = append(d.newest, newest), append(d.took, took)
		if !entry.Complete {
			d.unclean++
		}
		d.mu.Unlock()
	}
}

// report adds a sentence to the suite's report, unless nothing has drained.
func (d *drains) report(s *suite) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.newest)
	if n == 0 {
		return
	}
	slices.Sort(d.newest)
	slices.Sort(d.took)
	s.Remark("%d replicas drained. From SIGTERM to the last new connection: median %.2f s, longest %.2f s; "+
		"to the end of the drain: median %.2f s, longest %.2f s; connections had to be cut in %d of them.",
		n, d.newest[n/2].Seconds(), d.newest[n-1].Seconds(), d.took[n/2].Seconds(), d.took[n-1].Seconds(), d.unclean)
}
