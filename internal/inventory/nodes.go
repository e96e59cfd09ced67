package inventory

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	schedulinghelpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"sts-mutating-webhook/internal/plan"
)

// Fields that warnings are about.
const (
	selectorField    = "spec.template.spec.nodeSelector"
	affinityField    = "spec.template.spec.affinity.nodeAffinity"
	tolerationsField = "spec.template.spec.tolerations"
	nodeNameField    = "spec.template.spec.nodeName"
)

// FillNodes sets the nodes of each row that will be a pod, and adds a warning if there are none. Rows with the same demands, of
// which there are many, share a list.
func FillNodes(rows []plan.Row, nodes []corev1.Node) {
	known := map[string]choice{}
	for i := range rows {
		row := &rows[i]
		if row.Ordinal == nil || row.Refused() {
			continue
		}
		key := fmt.Sprintf("%s|%v|%p|%s", labels.Set(row.NodeSelector), row.Tolerations, row.Required, row.NodeName)
		found, ok := known[key]
		if !ok {
			found = choose(row, nodes)
			known[key] = found
		}
		row.Nodes = found.names
		if found.problem != nil {
			row.Problems = append(row.Problems, *found.problem)
		}
	}
}

// choice is the nodes that a pod may run on, in order, not nil; and if there is none, why.
type choice struct {
	names   []string
	problem *plan.Problem
}

// choose asks what the scheduler asks of each node, save for room: its labels, whether it is cordoned, its taints. A pod with a
// nodeName is not scheduled, but its kubelet asks nearly the same.
func choose(row *plan.Row, nodes []corev1.Node) choice {
	pod := podOf(row)
	affinity := nodeaffinity.GetRequiredNodeAffinity(pod)
	c := choice{names: []string{}}
	obstacles := map[string]int{}
	for i := range nodes {
		node := &nodes[i]
		// A term that cannot be read matches nothing.
		if match, err := affinity.Match(node); !match || err != nil || row.NodeName != "" && row.NodeName != node.Name {
			continue
		}
		if o := obstacle(pod, node); o != "" {
			obstacles[o]++
			continue
		}
		c.names = append(c.names, node.Name)
	}
	slices.Sort(c.names)
	if len(c.names) == 0 {
		c.problem = noNode(row, nodes, obstacles)
	}
	return c
}

// podOf is what of the pod matters for its nodes.
func podOf(row *plan.Row) *corev1.Pod {
	return &corev1.Pod{Spec: corev1.PodSpec{
		NodeName: row.NodeName, NodeSelector: row.NodeSelector, Tolerations: row.Tolerations,
		Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: row.Required}},
	}}
}

// obstacle says what keeps the pod from a node whose labels match, "" if nothing does.
func obstacle(pod *corev1.Pod, node *corev1.Node) string {
	scheduled := pod.Spec.NodeName == ""
	keepsOut := func(t *corev1.Taint) bool {
		return t.Effect == corev1.TaintEffectNoExecute || scheduled && t.Effect == corev1.TaintEffectNoSchedule
	}
	untolerated := func(taints []corev1.Taint) (corev1.Taint, bool) {
		return schedulinghelpers.FindMatchingUntoleratedTaint(logr.Discard(), taints, pod.Spec.Tolerations, keepsOut, true)
	}
	cordon := []corev1.Taint{{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}}
	if _, kept := untolerated(cordon); kept && node.Spec.Unschedulable {
		return "cordoned"
	}
	if taint, kept := untolerated(node.Spec.Taints); kept {
		return "tainted " + taint.ToString()
	}
	return ""
}

// maxObstacles bounds the list in a message.
const maxObstacles = 5

// noNode explains why no node can take the pod; obstacles counts what keeps it from those that match.
func noNode(row *plan.Row, nodes []corev1.Node, obstacles map[string]int) *plan.Problem {
	warning := func(field, format string, args ...any) *plan.Problem {
		return &plan.Problem{Severity: plan.Warning, Field: field, Message: fmt.Sprintf(format, args...)}
	}
	carried := func(selector map[string]string) bool {
		return slices.ContainsFunc(nodes, func(n corev1.Node) bool { return labels.SelectorFromSet(selector).Matches(labels.Set(n.Labels)) })
	}
	if row.NodeName != "" {
		return warning(nodeNameField, "the template names node %s, which is not there or must not run the pod, so the pod will not run; remove nodeName, or correct the rule", row.NodeName)
	}
	for _, key := range slices.Sorted(maps.Keys(row.NodeSelector)) {
		if !carried(map[string]string{key: row.NodeSelector[key]}) {
			return warning(selectorField, "no node carries %s=%s, so the pod will stay Pending; label a node, or correct the rule", key, row.NodeSelector[key])
		}
	}
	selector := strings.ReplaceAll(labels.Set(row.NodeSelector).String(), ",", ", ")
	switch {
	case len(nodes) == 0:
		return warning(selectorField, "there is no node, so the pod will stay Pending")
	case !carried(row.NodeSelector):
		return warning(selectorField, "no node carries all of %s, so the pod will stay Pending; label a node, or correct the rule", selector)
	case len(obstacles) == 0 && selector == "":
		return warning(affinityField, "no node meets the template's required node affinity, so the pod will stay Pending; label a node, or correct the affinity")
	case len(obstacles) == 0:
		return warning(affinityField, "no node that carries %s meets the template's required node affinity, so the pod will stay Pending; label a node, or correct one of the two", selector)
	}
	var counts []string
	for _, o := range slices.Sorted(maps.Keys(obstacles)) {
		counts = append(counts, fmt.Sprintf("%d %s", obstacles[o], o))
	}
	return warning(tolerationsField, "no node that matches takes the pod, so it will stay Pending: %s; tolerate the taint (\"tolerate\" in a rule, or the template's tolerations), uncordon a node, or correct the rule",
		strings.Join(counts[:min(len(counts), maxObstacles)], ", "))
}
