package rollout

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sts-mutating-webhook/test/kit"
)

// drains are the replicas that have drained while the test ran. Their own last
// log lines say how long after SIGTERM the Service still sent connections; the
// logs are followed, since they are gone with the pod.
type drains struct {
	// running are the goroutines that follow logs.
	running sync.WaitGroup
	// mu guards the rest.
	mu      sync.Mutex
	newest  []time.Duration
	took    []time.Duration
	unclean int
	err     error
}

// watchDrains follows the log of every replica of f, until the test ends.
func watchDrains(ctx context.Context, t *testing.T, f *fleet) *drains {
	ctx, stop := context.WithCancel(ctx)
	l := &drains{}
	l.running.Go(func() { l.watch(ctx, f) })
	t.Cleanup(func() {
		stop()
		l.running.Wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.err != nil {
			t.Errorf("follow logs: %v", l.err)
		}
	})
	return l
}

func (l *drains) watch(ctx context.Context, f *fleet) {
	followed := map[types.UID]bool{}
	_ = kit.Until(ctx, time.Hour, func(ctx context.Context) error { // it ends with ctx alone
		pods, err := f.pods(ctx)
		if err != nil {
			return err
		}
		for _, pod := range pods {
			if kit.Ready(pod) && !followed[pod.UID] {
				followed[pod.UID] = true
				l.running.Go(func() { l.follow(ctx, f, pod) })
			}
		}
		return errors.New("not yet over")
	})
}

func (l *drains) follow(ctx context.Context, f *fleet, pod corev1.Pod) {
	zero := int64(0)
	for {
		stream, err := f.suite.Client.CoreV1().Pods(f.namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Follow: true, TailLines: &zero}).Stream(ctx)
		if err == nil {
			l.read(stream)
		}
		if ctx.Err() != nil {
			return
		}
		// A killed container ends the stream too, and its successor is followed; so does
		// what breaks the stream, which then is tried again.
		if now, gone := f.suite.Client.CoreV1().Pods(f.namespace).Get(ctx, pod.Name, metav1.GetOptions{}); gone != nil || now.UID != pod.UID || now.DeletionTimestamp != nil {
			return
		}
		if kit.Sleep(ctx, 200*time.Millisecond) != nil {
			return
		}
	}
}

// read notes a drain that the log reports.
func (l *drains) read(stream io.ReadCloser) {
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
		l.mu.Lock()
		l.err = errors.Join(l.err, err, err2)
		l.newest, l.took = append(l.newest, newest), append(l.took, took)
		if !entry.Complete {
			l.unclean++
		}
		l.mu.Unlock()
	}
}

// String is a sentence for the report; empty when nothing has drained.
func (l *drains) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.newest) == 0 {
		return ""
	}
	slices.Sort(l.newest)
	slices.Sort(l.took)
	n := len(l.newest)
	return fmt.Sprintf("%d replicas were seen to drain. From SIGTERM to the last new connection: median %.2f s, longest %.2f s; to the end of the drain: median %.2f s, longest %.2f s; connections had to be cut in %d of them.",
		n, l.newest[n/2].Seconds(), l.newest[n-1].Seconds(), l.took[n/2].Seconds(), l.took[n-1].Seconds(), l.unclean)
}
