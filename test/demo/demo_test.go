package main

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// rightPods are the six pods as they should be.
func rightPods() []corev1.Pod {
	var pods []corev1.Pod
	for i, node := range []string{"node-1", "node-2", "node-1", "node-2", "node-1", "node-2"} {
		index := string(rune('0' + i))
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
		change func(pods []corev1.Pod) []corev1.Pod
		want   string // empty: no error
	}{
		"six pods on their nodes are right": {
			func(pods []corev1.Pod) []corev1.Pod { return pods }, "",
		},
		"a missing pod is an error": {
			func(pods []corev1.Pod) []corev1.Pod { return pods[1:] }, "5 pods instead of 6",
		},
		"no pods at all are an error": {
			func([]corev1.Pod) []corev1.Pod { return nil }, "0 pods instead of 6",
		},
		"a pod on the other node is an error": {
			func(pods []corev1.Pod) []corev1.Pod { pods[3].Spec.NodeName = "node-1"; return pods },
			`web-3: on node "node-1" instead of node-2`,
		},
		"a pod on its node by chance, without a nodeSelector, is an error": {
			func(pods []corev1.Pod) []corev1.Pod { pods[2].Spec.NodeSelector = nil; return pods },
			"web-2: the nodeSelector is map[] instead of name=node1",
		},
		"a pod that no node took is two errors": {
			func(pods []corev1.Pod) []corev1.Pod {
				pods[5].Spec.NodeName, pods[5].Status.Phase = "", corev1.PodPending
				return pods
			},
			"web-5: on node \"\" instead of node-2\nweb-5: Pending instead of Running",
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := check(test.change(rightPods()), map[string]string{"node1": "node-1", "node2": "node-2"})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestTable(t *testing.T) {
	pods := rightPods()[:2]
	pods[1].Spec.NodeSelector, pods[1].Spec.NodeName, pods[1].Status.Phase = nil, "", corev1.PodPending
	var out strings.Builder
	if err := table(&out, pods); err != nil {
		t.Fatal(err)
	}
	want := "   POD     ORDINAL   NODESELECTOR   NODE     PHASE\n" +
		"   web-0   0         name=node1     node-1   Running\n" +
		"   web-1   1         <none>                  Pending\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
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
