package rollout

import (
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// form is a StatefulSet with a rule, and the nodes that the rule gives to its ordinals in turn.
type form struct {
	set, rule string
	nodes     []string
}

// Every version knows the first form, the previous version does not know the second. By their answers to the second one, versions
// are distinguished.
var (
	byParity = form{"by-parity", kit.ByParity, []string{"node1", "node2"}}
	byList   = form{"by-list", `{"key": "name", "values": ["node1", "node2", "node3"]}`, []string{"node1", "node2", "node3"}}
)

// refusal is the answer of the previous version to byList.
const refusal = `admission webhook "sts-webhook.custom-system.svc" denied the request: annotation custom-node-selector: field "values" is unknown; ` +
	`write {"key": "<node label>", "even": "<value for even ordinals>", "odd": "<value for odd ordinals>"} in the StatefulSet's pod template`

// setReplicas is the size of both StatefulSets.
const setReplicas = 6

// formOf is the form of a pod of one of the two StatefulSets.
func formOf(pod *corev1.Pod) form {
	if pod.Labels["set"] == byList.set {
		return byList
	}
	return byParity
}

// misplaced says what is wrong with the node selector of a pod; empty if nothing is.
func (f form) misplaced(pod *corev1.Pod) string {
	var ordinal int
	if _, err := fmt.Sscanf(pod.Name, f.set+"-%d", &ordinal); err != nil {
		return fmt.Sprintf("%s is no pod of %s", pod.Name, f.set)
	}
	want := map[string]string{"name": f.nodes[ordinal%len(f.nodes)]}
	if maps.Equal(pod.Spec.NodeSelector, want) {
		return ""
	}
	return fmt.Sprintf("node selector of %s: got %v, want %v", pod.Name, pod.Spec.NodeSelector, want)
}

// pod is what the StatefulSet controller would create. The owner need not exist, so it is for dry runs.
func (f form) pod(ordinal int) *corev1.Pod {
	yes := true
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:        fmt.Sprintf("%s-%d", f.set, ordinal),
			Labels:      map[string]string{webhook.Label: "true"},
			Annotations: map[string]string{webhook.Annotation: f.rule},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "StatefulSet", Name: f.set, UID: "00000000-0000-0000-0000-000000000001", Controller: &yes,
			}},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "pause", Image: cluster.PauseImage}}},
	}
}
