package rollout

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

// burstSize is how many pods are created at once.
const burstSize = 1000

func (s *suite) testBurst(t *testing.T) {
	ctx := s.Ctx
	report := s.burst(ctx, t)
	if n := report.Lost(); n > 0 {
		t.Errorf("lost %d: %v", n, report.Causes())
	}
	if n := report.Count(load.Admitted); n < burstSize/2 {
		t.Errorf("%d admitted, too few to prove anything: %v", n, report.Causes())
	}
	s.rows = append(s.rows, newRow(event{name: fmt.Sprintf("%d dry runs at once", burstSize)}, []load.Report{report}))
}

func (s *suite) burst(ctx context.Context, t *testing.T) load.Report {
	t.Helper()
	client, err := load.NewClient(s.ours.target())
	kit.Must(t, err)
	samples := make([]load.Sample, burstSize)
	begin := time.Now()
	var all sync.WaitGroup
	for i := range samples {
		all.Go(func() { samples[i] = client.Create(ctx, i, begin) })
	}
	all.Wait()
	report := load.Report{Samples: samples}
	t.Logf("%s %v", report, report.Causes())
	return report
}

// testLargeStatefulSet lets the real controller create pods that no node will
// take, so that only their creation costs anything.
func (s *suite) testLargeStatefulSet(t *testing.T) {
	ctx := s.Ctx
	const namespace = "rollout-large"
	s.Namespace(t, namespace)
	defer func() {
		if err := s.Client.CoreV1().Namespaces().Delete(context.WithoutCancel(ctx), namespace, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}()
	begin := time.Now()
	_, err := s.Client.AppsV1().StatefulSets(namespace).Create(ctx, unscheduled("large", burstSize, kit.ByParity), metav1.CreateOptions{})
	kit.Must(t, err)
	err = kit.Until(ctx, 5*time.Minute, func(ctx context.Context) error {
		pods, err := s.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(pods.Items) < burstSize {
			return fmt.Errorf("%d of %d pods created", len(pods.Items), burstSize)
		}
		for _, pod := range pods.Items {
			var ordinal int
			if _, err := fmt.Sscanf(pod.Name, "large-%d", &ordinal); err != nil || pod.Spec.NodeSelector["name"] != []string{"node1", "node2"}[ordinal%2] {
				t.Errorf("%s has node selector %v", pod.Name, pod.Spec.NodeSelector)
			}
		}
		return nil
	})
	kit.Must(t, err)
	took := time.Since(begin)
	events, err := s.Client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=FailedCreate"})
	kit.Must(t, err)
	refused := 0
	for _, e := range events.Items {
		refused += int(max(e.Count, 1))
		t.Errorf("refused: %s", e.Message)
	}
	s.rows = append(s.rows, row{fmt.Sprintf("StatefulSet of %d replicas, Parallel, in %.0f s", burstSize, took.Seconds()), fmt.Sprintf("%d of %d", refused, burstSize), "–", "–"})
}

// unscheduled is an opted-in StatefulSet whose pods are created, all at once, and that no node will take.
func unscheduled(name string, replicas int32, rule string) *appsv1.StatefulSet {
	set := kit.StatefulSet(name, replicas, rule)
	set.Spec.Template.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "rollout.test/never"}}
	return set
}
