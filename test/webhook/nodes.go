package webhook

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ChooseNodes takes two nodes of an existing cluster, for the values node1 and node2 of the label "name": nodes that pods can run on
// and that have no such label. A node that has one of the values already is an error: pods could run on it, too.
func (w *Webhook) ChooseNodes(ctx context.Context) (nodeOf map[string]string, err error) {
	nodes, err := w.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	free, err := freeNodes(nodes.Items)
	if err != nil {
		return nil, err
	}
	return map[string]string{"node1": free[0], "node2": free[1]}, nil
}

// Unlabel are the arguments of kubectl that take the label away, unless somebody has changed it in the meantime.
func Unlabel(node, value string) []string {
	return []string{"patch", "node", node, "--type=json",
		fmt.Sprintf(`--patch=[{"op":"test","path":"/metadata/labels/name","value":%q},{"op":"remove","path":"/metadata/labels/name"}]`, value)}
}

func freeNodes(nodes []corev1.Node) ([]string, error) {
	var free []string
	for _, node := range nodes {
		value, labelled := node.Labels["name"]
		if value == "node1" || value == "node2" {
			return nil, fmt.Errorf("choose nodes: %s has the label name=%s already; remove it, or use another cluster", node.Name, value)
		}
		if !labelled && schedulable(node) {
			free = append(free, node.Name)
		}
	}
	if len(free) < 2 {
		return nil, fmt.Errorf("choose nodes: got %d of %d nodes that are Ready, without taints and without a label \"name\", %q, want 2", len(free), len(nodes), free)
	}
	return free[:2], nil
}

func schedulable(node corev1.Node) bool {
	tainted := slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Effect != corev1.TaintEffectPreferNoSchedule })
	ready := slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
	return ready && !tainted && !node.Spec.Unschedulable
}
