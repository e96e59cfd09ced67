package gate

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

// vanishedFor is longer than the control plane takes to find that a node is gone and to drop its replica from the Service, 40 s and
// the Service's own time.
const vanishedFor = time.Minute

// testVanishedNode drops every packet of a node on which a replica runs: the apiserver's calls to that replica time out, until the
// control plane takes the node for lost.
func (s *suite) testVanishedNode(t *testing.T) {
	for _, policy := range []string{"Fail", "gate"} {
		t.Run(policy, func(t *testing.T) {
			s.setPolicy(t, policy)
			s.leaveControlPlane(t)
			run := s.startLoad(t)
			pod := s.busiest(t)
			kit.Must(t, s.Cluster.Isolate(s.Ctx, pod.Spec.NodeName))
			reconnected := false
			reconnect := func() {
				if !reconnected {
					reconnected = true
					kit.Must(t, s.Cluster.Reconnect(context.WithoutCancel(s.Ctx), pod.Spec.NodeName))
				}
			}
			defer reconnect()
			s.Pause(vanishedFor)
			reconnect()
			s.Eventually(t, 2*time.Minute, func() error {
				node, err := s.Client.CoreV1().Nodes().Get(s.Ctx, pod.Spec.NodeName, metav1.GetOptions{})
				if err != nil {
					return err
				}
				if len(node.Spec.Taints) > 0 {
					return errors.New("the node is not back")
				}
				return nil
			})
			kit.Must(t, s.WaitRollout(s.Ctx))
			r := run.Stop()
			s.Remark("The network of a node with a replica dropped for %s, policy %s: %d of %d creations lost, %d stored behind the gate; p99 %d ms.",
				vanishedFor, policy, r.Lost(), len(r.Samples), r.Count(load.Gated), p99(r).Milliseconds())
			expectGateSaves(t, policy, r)
		})
	}
}

// busiest is the replica that answered most of the calls of some seconds.
func (s *suite) busiest(t *testing.T) (busiest corev1.Pod) {
	t.Helper()
	replicas, err := s.Replicas(s.Ctx)
	kit.Must(t, err)
	calls := func() (n []float64) {
		for _, pod := range replicas {
			sum, err := s.SumOf(s.Ctx, pod, "sts_webhook_admission_total", nil)
			kit.Must(t, err)
			n = append(n, sum)
		}
		return n
	}
	before := calls()
	s.Pause(3 * time.Second)
	most := -1.0
	for i, after := range calls() {
		if n := after - before[i]; n > most {
			most, busiest = n, replicas[i]
		}
	}
	return busiest
}

// leaveControlPlane moves the replicas away from the apiserver's node, whose network cannot be dropped.
func (s *suite) leaveControlPlane(t *testing.T) {
	t.Helper()
	s.Kubectl(t, "cordon", "node-1")
	defer s.Kubectl(t, "uncordon", "node-1")
	kit.Must(t, s.Restart(s.Ctx))
	kit.Must(t, s.WaitDrained(s.Ctx))
}
