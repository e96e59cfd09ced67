package app

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWhatIsKeptOfANode(t *testing.T) {
	transform := func() func(any) (any, error) {
		for obj, by := range (&checkOptions{nodes: true}).objects() {
			if _, ok := obj.(*corev1.Node); ok {
				return by.Transform
			}
		}
		t.Fatal("nodes are not watched")
		return nil
	}()
	meta := metav1.ObjectMeta{Name: "n1", UID: "u", ResourceVersion: "7", Labels: map[string]string{"zone": "a"}}
	spec := corev1.NodeSpec{Unschedulable: true, Taints: []corev1.Taint{{Key: "pool", Value: "db", Effect: corev1.TaintEffectNoSchedule}}}
	node := &corev1.Node{ObjectMeta: meta, Spec: spec, Status: corev1.NodeStatus{Images: []corev1.ContainerImage{{SizeBytes: 1}}}}
	node.Annotations, node.Spec.PodCIDR = map[string]string{"a": "b"}, "10.0.0.0/24"
	got, err := transform(node)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(any(&corev1.Node{ObjectMeta: meta, Spec: spec}), got); diff != "" {
		t.Errorf("node differs (-want +got):\n%s", diff)
	}
}
