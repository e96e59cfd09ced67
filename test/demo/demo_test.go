package main

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// rightPods are the six pods as they should be.
func rightPods() []corev1.Pod {
	var pods []corev1.Pod
	for i, node := range []string{"node-1", "node-2", "node-1", "node-2", "node-1", "node-2"} {
		index := fmt.Sprint(i)
		pods = append(pods, corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "web-" + index, Labels: map[string]string{"apps.kubernetes.io/pod-index": index}},
			Spec:       corev1.PodSpec{NodeName: node, NodeSelector: map[string]string{"name": strings.ReplaceAll(node, "-", "")}},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning},
		})
	}
	return pods
}

func TestCheck(t *testing.T) {
	for name, test := range map[string]struct {
		count  int // of the pods
		change func(pods []corev1.Pod)
		want   string // empty: no error
	}{
		"six pods on their nodes are right": {6, func([]corev1.Pod) {}, ""},
		"a missing pod is an error":         {5, func([]corev1.Pod) {}, "5 pods instead of 6"},
		"no pods at all are an error":       {0, func([]corev1.Pod) {}, "0 pods instead of 6"},
		"a pod on the other node is an error": {6, func(p []corev1.Pod) { p[3].Spec.NodeName = "node-1" },
			`web-3: on node "node-1" instead of node-2`},
		"a pod on its node by chance, without a nodeSelector, is an error": {6, func(p []corev1.Pod) { p[2].Spec.NodeSelector = nil },
			"web-2: the nodeSelector is map[] instead of name=node1"},
		"a pod that no node took is two errors": {6, func(p []corev1.Pod) { p[5].Spec.NodeName, p[5].Status.Phase = "", corev1.PodPending },
			"web-5: on node \"\" instead of node-2\nweb-5: Pending instead of Running"},
	} {
		t.Run(name, func(t *testing.T) {
			pods := rightPods()
			test.change(pods)
			got := ""
			if err := check(pods[:test.count], map[string]string{"node1": "node-1", "node2": "node-2"}); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestNextStepsNameTheCluster(t *testing.T) {
	for name, want := range map[string]string{
		"sts-webhook": "make cluster-down",
		"other":       "make CLUSTER_NAME=other cluster-down",
	} {
		if got := nextSteps(name); !strings.Contains(got, want) {
			t.Errorf("cluster %s: got %q, want %q in it", name, got, want)
		}
	}
}
