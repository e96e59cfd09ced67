package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
)

const (
	// creationInterval makes 50 creations a second, far above what a StatefulSet
	// controller asks for.
	creationInterval = 20 * time.Millisecond
	// creationsAtOnce bounds the goroutines when answers are slow.
	creationsAtOnce = 64
)

func (s *suite) testRollout(t *testing.T) {
	namespace := s.namespace(t)
	before, err := s.Replicas(s.Ctx)
	kit.Must(t, err)
	load := s.startLoad(namespace)
	restarted := s.within(s.Restart)
	// Old replicas drain for some seconds after the rollout has finished.
	drained := s.within(s.WaitDrained)
	count, slowest, refused := load.stop()
	kit.Must(t, errors.Join(restarted, drained))
	t.Logf("%d creations during the rollout, slowest %.0f ms, %d refused", count, slowest.Seconds()*1000, len(refused))
	if len(refused) > 0 || count < 100 {
		t.Errorf("refused %d of %d creations: %v", len(refused), count, errors.Join(refused[:min(3, len(refused))]...))
	}
	after, err := s.Replicas(s.Ctx)
	kit.Must(t, err)
	for _, old := range before {
		for _, pod := range after {
			if pod.UID == old.UID {
				t.Errorf("%s was not replaced", pod.Name)
			}
		}
	}
}

// creations creates pods until it is stopped.
type creations struct {
	cancel context.CancelFunc
	// ended is closed when the last creation was answered.
	ended chan struct{}
	// mu guards the rest.
	mu      sync.Mutex
	count   int
	slowest time.Duration
	refused []error
}

// startLoad begins to create pods, as dry runs: those pass through the whole
// admission chain and leave nothing behind.
func (s *suite) startLoad(namespace string) *creations {
	ctx, cancel := context.WithCancel(s.Ctx)
	l := &creations{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		var creations sync.WaitGroup
		defer creations.Wait()
		slots := make(chan struct{}, creationsAtOnce)
		ticker := time.NewTicker(creationInterval)
		defer ticker.Stop()
		for ordinal := 0; ; ordinal++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			slots <- struct{}{}
			creations.Go(func() {
				defer func() { <-slots }()
				begin := time.Now()
				// Not ctx: what has begun is brought to its end and counted.
				l.record(s.create(s.Ctx, namespace, ordinal), time.Since(begin))
			})
		}
	}()
	return l
}

// create creates one pod and checks that it was changed: a webhook that is
// skipped is as bad as one that does not answer.
func (s *suite) create(ctx context.Context, namespace string, ordinal int) error {
	pod, err := s.Client.CoreV1().Pods(namespace).Create(ctx, kit.OwnedPod("load", ordinal, kit.ByParity), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return err
	}
	if pod.Spec.NodeSelector["name"] != []string{"node1", "node2"}[ordinal%2] {
		return fmt.Errorf("%s was let through with nodeSelector %v", pod.Name, pod.Spec.NodeSelector)
	}
	return nil
}

func (l *creations) record(err error, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	l.slowest = max(l.slowest, took)
	if err != nil {
		l.refused = append(l.refused, err)
	}
}

// stop ends the load and returns what it saw.
func (l *creations) stop() (count int, slowest time.Duration, refused []error) {
	l.cancel()
	<-l.ended
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count, l.slowest, l.refused
}
