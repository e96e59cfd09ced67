package webhook

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// LabelNodes gives two nodes the labels name=node1 and name=node2, which the documentation's annotation names, and returns the nodes
// by these values: on any other node no pod is right. On an existing cluster it takes nodes that pods can run on and that have no such
// label. A node that has one of the values already is an error: pods could run on it, too. There, undo are the arguments of kubectl
// that take the labels away, unless somebody has changed them in the meantime; they are of use even after an error.
func (w *Webhook) LabelNodes(ctx context.Context) (nodeOf map[string]string, undo [][]string, err error) {
	nodes := []string{"node-1", "node-2"}
	if w.Cluster.IsExisting() {
		list, err := w.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, nil, fmt.Errorf("list nodes: %w", err)
		}
		if nodes, err = freeNodes(list.Items); err != nil {
			return nil, nil, err
		}
	}
	nodeOf = map[string]string{"node1": nodes[0], "node2": nodes[1]}
	for value, node := range nodeOf {
		if w.Cluster.IsExisting() {
			undo = append(undo, []string{"patch", "node", node, "--type=json",
				fmt.Sprintf(`--patch=[{"op":"test","path":"/metadata/labels/name","value":%q},{"op":"remove","path":"/metadata/labels/name"}]`, value)})
		}
		overwrite := fmt.Sprintf("--overwrite=%t", !w.Cluster.IsExisting())
		if _, err := w.Cluster.Kubectl(ctx, "label", "node", node, "name="+value, overwrite); err != nil {
			return nil, undo, err
		}
	}
	return nodeOf, undo, nil
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
		return nil, fmt.Errorf("choose nodes: got %d of %d nodes without taints and without a label \"name\", %q, want 2",
			len(free), len(nodes), free)
	}
	return free[:2], nil
}

// schedulable holds for a node that pods with no toleration run on. Kubernetes gives taints also to nodes that are cordoned or not Ready.
func schedulable(node corev1.Node) bool {
	return !slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Effect != corev1.TaintEffectPreferNoSchedule })
}
