package alerts

import (
	"context"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
)

// misspelt is denied; the message names the field.
const misspelt = `{"key": "name", "evn": "node1", "odd": "node2"}`

// never makes pods that are never scheduled: they are really created and cost no node.
var never = []corev1.PodSchedulingGate{{Name: "proof/never"}}

// statefulSet opts in with an annotation. All pods are created at once.
func statefulSet(name string, n int32, annotation string) *appsv1.StatefulSet {
	set := kit.StatefulSet(name, n, annotation)
	set.Spec.Template.Spec.SchedulingGates = never
	return set
}

// pod is what a controller of StatefulSets would create; none touches it.
func pod(set string, ordinal int, annotation string) *corev1.Pod {
	pod := kit.OrphanPod(set, ordinal, annotation)
	pod.Spec.SchedulingGates = never
	return pod
}

// deny has each replica refuse n pods, each of a StatefulSet of its own, so that it
// is news. The replicas are called directly: the apiserver would go on with the
// connections it has, which need not lead to all of them.
func (s *suite) deny(t *testing.T, n int) {
	t.Helper()
	f := s.newFlood(t)
	for _, replica := range s.replicaPods(t) {
		client, err := s.ReplicaClient(s.Ctx, replica, 1)
		kit.Must(t, err)
		for range n {
			if err := f.call(client); err != nil {
				t.Errorf("call %s: %v", replica.Name, err)
			}
		}
		client.CloseIdleConnections()
	}
}

// createSet creates the StatefulSet and returns once its pods exist.
func (s *suite) createSet(t *testing.T, set *appsv1.StatefulSet) {
	t.Helper()
	_, err := s.Client.AppsV1().StatefulSets(s.namespace).Create(s.Ctx, set, metav1.CreateOptions{})
	kit.Must(t, err)
	s.Eventually(t, waitTimeout, func() error {
		list, err := s.Client.CoreV1().Pods(s.namespace).List(s.Ctx, metav1.ListOptions{LabelSelector: "set=" + set.Name})
		if err == nil && len(list.Items) != int(*set.Spec.Replicas) {
			err = fmt.Errorf("%d pods of %s, want %d", len(list.Items), set.Name, *set.Spec.Replicas)
		}
		return err
	})
}

// sum adds a metric over the replicas.
func (s *suite) sum(t *testing.T, metric string) float64 {
	t.Helper()
	n, err := s.Sum(s.Ctx, metric, nil)
	kit.Must(t, err)
	return n
}

// logs is what a replica logged.
func (s *suite) logs(ctx context.Context, t *testing.T, namespace, pod string) string {
	t.Helper()
	log, err := s.Client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(ctx)
	kit.Must(t, err)
	return string(log)
}
