package gate

import (
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/webhook"
)

// byParity is the documentation's annotation.
const byParity = `{"key": "name", "even": "node1", "odd": "node2"}`

// statefulSet opts in. All its pods are created at once; they do nothing.
func statefulSet(name string, replicas int32, annotation string) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, ServiceName: name, PodManagementPolicy: appsv1.ParallelPodManagement,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"set": name}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels:      map[string]string{"set": name, webhook.Label: "true"},
					Annotations: map[string]string{webhook.Annotation: annotation},
				},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: new(int64),
					Containers:                    []corev1.Container{{Name: "pause", Image: cluster.PauseImage, ImagePullPolicy: corev1.PullIfNotPresent}},
				},
			},
		},
	}
}

func (s *suite) createSet(t *testing.T, set *appsv1.StatefulSet) {
	t.Helper()
	_, err := s.Client.AppsV1().StatefulSets(namespace).Create(s.ctx, set, metav1.CreateOptions{})
	must(t, err)
}

// deleteSet returns when its pods are gone as well.
func (s *suite) deleteSet(t *testing.T, name string) {
	t.Helper()
	err := s.Client.AppsV1().StatefulSets(namespace).Delete(s.ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	s.eventually(t, time.Minute, func() error {
		if n := len(s.podsOf(t, name)); n > 0 {
			return fmt.Errorf("%d pods of %s are left", n, name)
		}
		return nil
	})
}

func (s *suite) podsOf(t *testing.T, set string) []corev1.Pod {
	t.Helper()
	list, err := s.Client.CoreV1().Pods(namespace).List(s.ctx, metav1.ListOptions{LabelSelector: "set=" + set})
	must(t, err)
	return list.Items
}

// placed tells whether a pod has the selector of its ordinal and no gate.
func placed(pod corev1.Pod) bool {
	return len(pod.Spec.SchedulingGates) == 0 && pod.Spec.NodeSelector["name"] == want(pod.Name)
}

// misplaced tells whether the scheduler may put, or has put, the pod on a wrong node.
func misplaced(pod corev1.Pod) bool { return len(pod.Spec.SchedulingGates) == 0 && !placed(pod) }

func want(pod string) string {
	if (pod[len(pod)-1]-'0')%2 == 0 {
		return "node1"
	}
	return "node2"
}

// runs waits until all pods of the set run where they should.
func (s *suite) runs(t *testing.T, set string, replicas int) {
	t.Helper()
	s.eventually(t, 90*time.Second, func() error {
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
	list, err := s.Client.CoreV1().Events(namespace).List(s.ctx, metav1.ListOptions{
		FieldSelector: "reason=FailedCreate,involvedObject.kind=StatefulSet,involvedObject.name=" + set,
	})
	must(t, err)
	n := 0
	for _, e := range list.Items {
		n += int(max(1, e.Count))
	}
	return n
}
