package gate

import (
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
)

func (s *suite) createSet(t *testing.T, set *appsv1.StatefulSet) {
	t.Helper()
	_, err := s.Client.AppsV1().StatefulSets(namespace).Create(s.Ctx, set, metav1.CreateOptions{})
	kit.Must(t, err)
}

// deleteSet returns when its pods are gone as well.
func (s *suite) deleteSet(t *testing.T, name string) {
	t.Helper()
	err := s.Client.AppsV1().StatefulSets(namespace).Delete(s.Ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	s.Eventually(t, time.Minute, func() error {
		if n := len(s.podsOf(t, name)); n > 0 {
			return fmt.Errorf("%d pods of %s are left", n, name)
		}
		return nil
	})
}

func (s *suite) podsOf(t *testing.T, set string) []corev1.Pod {
	t.Helper()
	return s.podsWith(t, kit.SetLabel+"="+set)
}

func (s *suite) podsWith(t *testing.T, selector string) []corev1.Pod {
	t.Helper()
	list, err := s.Client.CoreV1().Pods(namespace).List(s.Ctx, metav1.ListOptions{LabelSelector: selector})
	kit.Must(t, err)
	return list.Items
}

// placed reports whether a pod has the selector of its ordinal and no gate.
func placed(pod corev1.Pod) bool {
	want := []string{"node1", "node2"}[(pod.Name[len(pod.Name)-1]-'0')%2]
	return len(pod.Spec.SchedulingGates) == 0 && pod.Spec.NodeSelector["name"] == want
}

// misplaced reports whether the scheduler may put, or has put, the pod on a wrong node.
func misplaced(pod corev1.Pod) bool { return len(pod.Spec.SchedulingGates) == 0 && !placed(pod) }

// runs waits until all pods of the set run where they should.
func (s *suite) runs(t *testing.T, set string, replicas int) {
	t.Helper()
	s.Eventually(t, 90*time.Second, func() error {
		running := 0
		for _, pod := range s.podsOf(t, set) {
			if pod.Status.Phase == corev1.PodRunning && placed(pod) && pod.DeletionTimestamp == nil {
				running++
			}
		}
		if running != replicas {
			return fmt.Errorf("%d of %d pods of %s run where they should", running, replicas, set)
		}
		return nil
	})
}

// failures counts what the StatefulSet controller was refused.
func (s *suite) failures(t *testing.T, set string) int {
	t.Helper()
	list, err := s.Client.CoreV1().Events(namespace).List(s.Ctx, metav1.ListOptions{
		FieldSelector: "reason=FailedCreate,involvedObject.kind=StatefulSet,involvedObject.name=" + set,
	})
	kit.Must(t, err)
	n := 0
	for _, e := range list.Items {
		n += int(max(1, e.Count))
	}
	return n
}
