package alerts

import (
	"context"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/webhook"
)

const (
	byParity = `{"key": "name", "even": "node1", "odd": "node2"}`
	// misspelt is denied; the message names the field.
	misspelt = `{"key": "name", "evn": "node1", "odd": "node2"}`
)

// gatedSpec is never scheduled: the pods are really created and cost no node.
func gatedSpec() corev1.PodSpec {
	return corev1.PodSpec{
		SchedulingGates:               []corev1.PodSchedulingGate{{Name: "proof/never"}},
		TerminationGracePeriodSeconds: new(int64),
		Containers:                    []corev1.Container{{Name: "pause", Image: cluster.PauseImage, ImagePullPolicy: corev1.PullIfNotPresent}},
	}
}

// statefulSet opts in with an annotation. All pods are created at once.
func statefulSet(name string, n int32, annotation string) *appsv1.StatefulSet {
	labels := map[string]string{"set": name}
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &n, ServiceName: name, PodManagementPolicy: appsv1.ParallelPodManagement,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels:      map[string]string{"set": name, webhook.Label: "true"},
					Annotations: map[string]string{webhook.Annotation: annotation},
				},
				Spec: gatedSpec(),
			},
		},
	}
}

// pod is what a StatefulSet controller would create. Its owner is a kind that
// this cluster does not have, so no controller and no garbage collector minds it.
func pod(set string, ordinal int, annotation string) *corev1.Pod {
	yes := true
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:        fmt.Sprintf("%s-%d", set, ordinal),
			Labels:      map[string]string{webhook.Label: "true"},
			Annotations: map[string]string{webhook.Annotation: annotation},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps.kruise.io/v1beta1", Kind: "StatefulSet", Name: set, UID: "00000000-0000-0000-0000-000000000001", Controller: &yes,
			}},
		},
		Spec: gatedSpec(),
	}
}

// deny has each replica refuse n pods, each of a StatefulSet of its own, so that it
// is news. The replicas are called directly: the apiserver would go on with the
// connections it has, which need not lead to all of them.
func (w *world) deny(t *testing.T, n int) {
	t.Helper()
	f := w.newFlood(t)
	for _, replica := range w.replicaPods(t) {
		client := f.client(replica)
		for range n {
			if err := f.call(client); err != nil {
				t.Errorf("call %s: %v", replica.Name, err)
			}
		}
		client.CloseIdleConnections()
	}
}

// createSet creates the StatefulSet and returns once its pods exist.
func (w *world) createSet(t *testing.T, set *appsv1.StatefulSet) {
	t.Helper()
	_, err := w.Client.AppsV1().StatefulSets(w.namespace).Create(w.ctx, set, metav1.CreateOptions{})
	must(t, err)
	w.eventually(t, waitTimeout, func() error {
		list, err := w.Client.CoreV1().Pods(w.namespace).List(w.ctx, metav1.ListOptions{LabelSelector: "set=" + set.Name})
		if err == nil && len(list.Items) != int(*set.Spec.Replicas) {
			err = fmt.Errorf("%d pods of %s, want %d", len(list.Items), set.Name, *set.Spec.Replicas)
		}
		return err
	})
}

// sum adds a metric over the replicas.
func (w *world) sum(t *testing.T, metric string) float64 {
	t.Helper()
	n, err := w.Sum(w.ctx, metric, nil)
	must(t, err)
	return n
}

// logs is what a replica logged.
func (w *world) logs(ctx context.Context, t *testing.T, namespace, pod string) string {
	t.Helper()
	log, err := w.Client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(ctx)
	must(t, err)
	return string(log)
}
