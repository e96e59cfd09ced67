package alerts

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
)

// misspelt is denied; the message names the field.
const misspelt = `{"key": "name", "evn": "node1", "odd": "node2"}`

// never makes pods that are never scheduled: they are really created and cost no node.
var never = []corev1.PodSchedulingGate{{Name: "proof/never"}}

// createSet creates a StatefulSet. All its pods are created at once.
func (s *suite) createSet(t *testing.T, name string, n int32, annotation string) {
	t.Helper()
	set := kit.StatefulSet(name, n, annotation)
	set.Spec.Template.Spec.SchedulingGates = never
	_, err := s.Client.AppsV1().StatefulSets(s.namespace).Create(s.Ctx, set, metav1.CreateOptions{})
	kit.Must(t, err)
}

// createPod creates what a controller of StatefulSets would create; none touches it.
func (s *suite) createPod(namespace, set string, ordinal int, annotation string) (*corev1.Pod, error) {
	pod := kit.OrphanPod(set, ordinal, annotation)
	pod.Spec.SchedulingGates = never
	return s.Client.CoreV1().Pods(namespace).Create(s.Ctx, pod, metav1.CreateOptions{})
}

// refuse has a pod refused through the apiserver, by whichever replica it calls.
func (s *suite) refuse(namespace, set, field string) error {
	if _, err := s.createPod(namespace, set, 0, fmt.Sprintf(`{"key": "name", %q: "node1", "odd": "node2"}`, field)); err == nil {
		return errors.New("the pod was created, want a refusal")
	}
	return nil
}

// deny has each replica refuse a pod. The replicas are called directly: the apiserver
// would go on with the connections it has, which need not lead to all of them.
func (s *suite) deny(t *testing.T) {
	t.Helper()
	review := s.review(t)
	for _, replica := range s.replicaPods(t) {
		client, err := s.ReplicaClient(s.Ctx, replica, 1)
		kit.Must(t, err)
		if err := s.call(client, review); err != nil {
			t.Errorf("call %s: %v", replica.Name, err)
		}
		client.CloseIdleConnections()
	}
}

// floodSet stands for the StatefulSet's name in the review.
const floodSet = "flood0000000"

// review has a pod of floodSet denied.
func (s *suite) review(t *testing.T) []byte {
	t.Helper()
	return kit.Review(t, s.namespace, kit.OrphanPod(floodSet, 0, misspelt), false)
}

// call sends the review to a replica, for a StatefulSet of its own, so that it is news.
func (s *suite) call(client *http.Client, review []byte) error {
	set := fmt.Sprintf("flood%07d", s.reviews.Add(1))
	return kit.PostReview(s.Ctx, client, bytes.ReplaceAll(review, []byte(floodSet), []byte(set)), false)
}
