package plan

import (
	"fmt"
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// nodeCount is the number of fake nodes.
const nodeCount = 300

// labelValues are the labels that nodes and rules draw from. There are also host=deb-N, one node each, and rack=rN, some five.
var labelValues = map[string][]string{
	"zone":             {"a", "b", "c"},
	"disk":             {"nvme", "ssd", "hdd"},
	"pool":             {"db", "web", "batch"},
	"example.com/room": {"east", "west"},
	"cores":            {"8", "16", "64"},
}

// labelKeys are the keys of labelValues, in a fixed order.
var labelKeys = []string{"zone", "disk", "pool", "example.com/room", "cores"}

const racks = 60

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

// fakeNode is a node that no kubelet stands behind.
func fakeNode(r *rand.Rand, i int) *corev1.Node {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("fake-%d", i), Labels: map[string]string{
		"host": fmt.Sprintf("deb-%d", i), "rack": fmt.Sprintf("r%d", r.IntN(racks)),
	}}}
	for _, key := range labelKeys {
		if chance(r, 80) {
			node.Labels[key] = pick(r, labelValues[key])
		}
	}
	taint := func(key, value string, effect corev1.TaintEffect) {
		node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: key, Value: value, Effect: effect})
	}
	if pool := node.Labels["pool"]; pool == "db" || pool == "web" && chance(r, 50) { // no pod gets to db without a toleration
		taint("pool", pool, corev1.TaintEffectNoSchedule)
	}
	if chance(r, 10) {
		taint("host", node.Labels["host"], corev1.TaintEffectNoSchedule)
	}
	if chance(r, 8) {
		taint("maintenance", "", corev1.TaintEffectNoExecute)
	}
	if chance(r, 10) {
		taint("spot", "true", corev1.TaintEffectPreferNoSchedule)
	}
	node.Spec.Unschedulable = chance(r, 8)
	return node
}

// startNodes creates the fake nodes and keeps them alive until the test ends.
func (s *suite) startNodes(t *testing.T, r *rand.Rand) {
	var nodes []*corev1.Node
	for i := range nodeCount {
		nodes = append(nodes, fakeNode(r, i))
	}
	s.StartNodes(t, nodes)
}
