package webhook

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestFreeNodes(t *testing.T) {
	node := func(name string, change func(*corev1.Node)) corev1.Node {
		n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
		if change != nil {
			change(&n)
		}
		return n
	}
	tainted := node("tainted", func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "a", Effect: corev1.TaintEffectNoSchedule}} })
	cordoned := node("cordoned", func(n *corev1.Node) { n.Spec.Unschedulable = true })
	down := node("down", func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionFalse })
	named := node("named", func(n *corev1.Node) { n.Labels["name"] = "mine" })
	taken := node("taken", func(n *corev1.Node) { n.Labels["name"] = "node2" })
	a, b, c := node("a", nil), node("b", nil), node("c", nil)
	for name, test := range map[string]struct {
		nodes []corev1.Node
		want  string // of an error, its beginning
	}{
		"the first two":                            {[]corev1.Node{a, b, c}, "a b"},
		"no node that pods cannot run on":          {[]corev1.Node{tainted, cordoned, down, a, b}, "a b"},
		"no node with a label of that key":         {[]corev1.Node{named, a, b}, "a b"},
		"one node is not enough":                   {[]corev1.Node{a, named}, `choose nodes: got 1 of 2 nodes`},
		"a node that has a value already is error": {[]corev1.Node{a, b, taken}, "choose nodes: taken has the label name=node2"},
	} {
		t.Run(name, func(t *testing.T) {
			free, err := freeNodes(test.nodes)
			got := strings.Join(free, " ")
			if err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
