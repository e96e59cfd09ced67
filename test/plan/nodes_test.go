package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
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

// startNodes creates the fake nodes and keeps them alive until the test ends. It returns when the control plane takes them for
// Ready.
func (s *suite) startNodes(t *testing.T, r *rand.Rand) {
	leases := make([]*coordinationv1.Lease, nodeCount)
	work, ctx := errgroup.WithContext(s.ctx)
	work.SetLimit(10)
	for i := range nodeCount {
		node := fakeNode(r, i)
		work.Go(func() (err error) {
			leases[i], err = s.startNode(ctx, node)
			return err
		})
	}
	must(t, work.Wait())
	beating, stop := context.WithCancel(s.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.renew(beating, t, leases)
	}()
	t.Cleanup(func() { stop(); <-done })
	s.eventually(t, time.Minute, func(ctx context.Context) error {
		list, err := s.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, node := range list.Items {
			if slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeNotReady }) {
				return fmt.Errorf("node %s is not Ready", node.Name)
			}
			cordoned := slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeUnschedulable })
			if cordoned != node.Spec.Unschedulable {
				return fmt.Errorf("node %s is cordoned: %v, and tainted so: %v", node.Name, node.Spec.Unschedulable, cordoned)
			}
		}
		return nil
	})
}

func (s *suite) startNode(ctx context.Context, node *corev1.Node) (*coordinationv1.Lease, error) {
	if _, err := s.Client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("create node: %w", err)
	}
	room := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1k"), corev1.ResourceMemory: resource.MustParse("1Ti"), corev1.ResourcePods: resource.MustParse("10k")}
	status, err := json.Marshal(corev1.Node{Status: corev1.NodeStatus{Capacity: room, Allocatable: room, Conditions: []corev1.NodeCondition{{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Fake", LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
	}}}})
	if err != nil {
		return nil, err
	}
	// A patch, since the node's taints are being written meanwhile.
	if _, err := s.Client.CoreV1().Nodes().PatchStatus(ctx, node.Name, status); err != nil {
		return nil, fmt.Errorf("set node Ready: %w", err)
	}
	now := metav1.NowMicro()
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: node.Name},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &node.Name, RenewTime: &now},
	}
	lease, err = s.Client.CoordinationV1().Leases(lease.Namespace).Create(ctx, lease, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create lease: %w", err)
	}
	return lease, nil
}

// renew renews each lease every ten seconds, as a kubelet does. After 50 seconds without, a node would be tainted as unreachable.
func (s *suite) renew(ctx context.Context, t *testing.T, leases []*coordinationv1.Lease) {
	tick := time.NewTicker(10 * time.Second / nodeCount)
	defer tick.Stop()
	for i := 0; ; i = (i + 1) % len(leases) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := metav1.NowMicro()
		leases[i].Spec.RenewTime = &now
		lease, err := s.Client.CoordinationV1().Leases(leases[i].Namespace).Update(ctx, leases[i], metav1.UpdateOptions{})
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("renew lease: %v", err)
			}
			return
		}
		leases[i] = lease
	}
}
