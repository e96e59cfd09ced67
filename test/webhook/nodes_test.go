package webhook

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestFreeNodes(t *testing.T) {
	node := func(name string, labels map[string]string, taints ...corev1.Taint) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Spec: corev1.NodeSpec{Taints: taints}}
	}
	tainted := node("tainted", nil, corev1.Taint{Key: "a", Effect: corev1.TaintEffectNoSchedule})
	named, taken := node("named", map[string]string{"name": "mine"}), node("taken", map[string]string{"name": "node2"})
	a, b, c := node("a", nil), node("b", nil), node("c", nil)
	for name, test := range map[string]struct {
		nodes []corev1.Node
		want  string // of an error, its beginning
	}{
		"the first two":                            {[]corev1.Node{a, b, c}, "a b"},
		"no node that pods cannot run on":          {[]corev1.Node{tainted, a, b}, "a b"},
		"no node with a label of that key":         {[]corev1.Node{named, a, b}, "a b"},
		"one node is not enough":                   {[]corev1.Node{a, named}, `choose nodes: got 1 of 2 nodes`},
		"a node that has a value already is error": {[]corev1.Node{a, b, taken}, "choose nodes: taken has the label name=node2"},
	} {
		free, err := freeNodes(test.nodes)
		got := strings.Join(free, " ")
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
