package gate

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fleetKey is the label and the taint of the nodes for StatefulSets too large for the real ones.
const fleetKey = "gate-fleet"

// startFleet starts nodes for many pods, which last until the test ends: three of each group, and three on which no pod is right.
func (s *suite) startFleet(t *testing.T) {
	var nodes []*corev1.Node
	for i := range 9 {
		node := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("fleet-%d", i), Labels: map[string]string{fleetKey: "true"}},
			Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: fleetKey, Effect: corev1.TaintEffectNoSchedule}}},
		}
		if i%3 < 2 {
			node.Labels["name"] = []string{"node1", "node2"}[i%3]
		}
		nodes = append(nodes, node)
	}
	s.StartNodes(t, nodes)
}

// onFleet moves the pods of a StatefulSet to the fleet's nodes.
func onFleet(set *appsv1.StatefulSet) {
	spec := &set.Spec.Template.Spec
	spec.Tolerations = []corev1.Toleration{{Key: fleetKey, Operator: corev1.TolerationOpExists}}
	spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: fleetKey, Operator: corev1.NodeSelectorOpExists}}}},
	}}}
}
