package e2e

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
)

// formLabels are the labels by which the rules of the forms choose, beside name.
var formLabels = map[string][]string{
	"node-1": {"zone=a", "room=east", "gen=g1", "host=deb-1"},
	"node-2": {"zone=b", "room=west", "gen=g1", "host=deb-2"},
	"node-3": {"zone=c", "room=east", "gen=g2", "host=deb-3"},
}

// taint keeps pods away from node-3 that do not tolerate it.
const taint = "host=deb-3:NoSchedule"

// anywhere is wanted of a pod that may run on any node.
const anywhere = "any node"

// form is a rule, and the nodes that its pods run on.
type form struct {
	name, rule string
	start      int32 // spec.ordinals.start
	want       []string
}

// forms are all but the one by parity, of which testPlacement runs the documentation's example.
var forms = []form{
	{name: "values", rule: `{"key": "zone", "values": ["a", "b", "c"]}`, want: []string{"node-1", "node-2", "node-3", "node-1"}},
	{name: "ordinals", rule: `{"key": "zone", "ordinals": {"0": "c", "2-3": "a"}, "default": "b"}`, want: []string{"node-3", "node-2", "node-1", "node-1"}},
	{name: "several", rule: `[{"key": "room", "values": ["east", "west", "east"]}, {"key": "gen", "ordinals": {"0-1": "g1"}, "default": "g2"}]`,
		want: []string{"node-1", "node-2", "node-3"}},
	{name: "start", rule: `{"key": "zone", "values": ["a", "b", "c"]}`, start: 5, want: []string{"node-3", "node-1", "node-2"}},
	{name: "preferred", rule: `{"key": "zone", "values": ["c", "a"], "whenUnsatisfiable": "ScheduleAnyway"}`, want: []string{"node-3", "node-1"}},
	{name: "elsewhere", rule: `{"key": "zone", "values": ["nowhere"], "whenUnsatisfiable": "ScheduleAnyway"}`, want: []string{anywhere, anywhere}},
}

// testForms runs pods of each form of rule, and looks on which node each runs.
func (s *suite) testForms(t *testing.T) {
	for node, labels := range formLabels {
		s.Kubectl(t, append([]string{"label", "node", node}, labels...)...)
	}
	defer func() {
		for node := range formLabels {
			s.Kubectl(t, "label", "node", node, "zone-", "room-", "gen-", "host-")
		}
	}()
	namespace := s.namespace(t)
	t.Run("nodes", func(t *testing.T) { // returns when its parallel tests have
		for _, f := range forms {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				s.testForm(t, namespace, f)
			})
		}
		t.Run("a partition keeps the old rule, and a rollback brings it back", func(t *testing.T) {
			t.Parallel()
			s.testPartition(t, namespace)
		})
	})
	t.Run("a taint is tolerated", func(t *testing.T) { s.testTaint(t, namespace) })
}

func (s *suite) testForm(t *testing.T, namespace string, f form) {
	set := kit.StatefulSet(f.name, int32(len(f.want)), f.rule)
	set.Spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: f.start}
	got := nodesOf(s.apply(t, namespace, set))
	want := map[string]string{}
	for i, node := range f.want {
		pod := fmt.Sprintf("%s-%d", f.name, int(f.start)+i)
		if want[pod] = node; node == anywhere && got[pod] != "" {
			want[pod] = got[pod]
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("nodes: got %v, want %v", got, want)
	}
}

// nodesOf returns the nodes that pods run on, by the names of the pods.
func nodesOf(pods []corev1.Pod) map[string]string {
	nodes := map[string]string{}
	for _, pod := range pods {
		nodes[pod.Name] = pod.Spec.NodeName
	}
	return nodes
}

// testTaint has the last of three pods on a node with a taint, which one that does not tolerate it cannot reach.
func (s *suite) testTaint(t *testing.T, namespace string) {
	s.Kubectl(t, "taint", "node", "node-3", taint)
	defer s.Kubectl(t, "taint", "node", "node-3", taint+"-")
	s.testForm(t, namespace, form{name: "value", rule: `{"key": "host", "value": "deb-$(ordinal)", "start": 1, "tolerate": "NoSchedule"}`,
		want: []string{"node-1", "node-2", "node-3"}})
	s.create(t, namespace, kit.StatefulSet("intolerant", 3, `{"key": "host", "value": "deb-$(ordinal)", "start": 1}`))
	s.eventually(t, func() error {
		pod, err := s.Client.CoreV1().Pods(namespace).Get(s.Ctx, "intolerant-2", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonUnschedulable
		}) {
			return fmt.Errorf("intolerant-2 is on node %q, want that no node takes it", pod.Spec.NodeName)
		}
		return nil
	})
}

// testPartition swaps the nodes of two pods behind a partition, replaces the pod below it, and takes the change back.
func (s *suite) testPartition(t *testing.T, namespace string) {
	set := kit.StatefulSet("partitioned", 2, kit.ByParity)
	set.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{
		Type: appsv1.RollingUpdateStatefulSetStrategyType, RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: new(int32(1))},
	}
	before := uids(s.apply(t, namespace, set))
	expect := func(first, second string, replaced bool) {
		t.Helper()
		want := map[string]string{"partitioned-0": first, "partitioned-1": second}
		s.eventually(t, func() error {
			pods, err := s.running(namespace, set.Name, 2)
			if err != nil {
				return err
			}
			for _, pod := range pods {
				if replaced && before[pod.Name] == pod.UID {
					return fmt.Errorf("%s has not been replaced", pod.Name)
				}
			}
			if got := nodesOf(pods); !maps.Equal(got, want) {
				return fmt.Errorf("nodes: got %v, want %v", got, want)
			}
			return nil
		})
	}
	expect("node-1", "node-2", false)
	kit.Must(t, s.changeRule(namespace, set.Name, swapped))
	kit.Must(t, s.Client.CoreV1().Pods(namespace).Delete(s.Ctx, "partitioned-0", metav1.DeleteOptions{}))
	expect("node-1", "node-1", true)
	s.Kubectl(t, "rollout", "undo", "statefulset/partitioned", "--namespace", namespace)
	expect("node-1", "node-2", false)
}
