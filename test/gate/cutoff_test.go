package gate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
)

// vanishedFor is longer than the control plane takes to find that a node is gone and to drop its replica from the Service, 40 s and
// the Service's own time.
const vanishedFor = time.Minute

// testVanishedNode drops every packet of a node on which a replica runs: the apiserver's calls to that replica time out, until the
// control plane takes the node for lost.
func (s *suite) testVanishedNode(t *testing.T) {
	what := fmt.Sprintf("The network of a node with a replica dropped for %s", vanishedFor)
	s.withAndWithoutGate(t, what, func(t *testing.T, _ string) {
		s.leaveControlPlane(t)
		node := s.busiest(t).Spec.NodeName
		kit.Must(t, s.Cluster.Isolate(s.Ctx, node))
		reconnect := sync.OnceFunc(func() { kit.Must(t, s.Cluster.Reconnect(context.WithoutCancel(s.Ctx), node)) })
		defer reconnect()
		s.Pause(vanishedFor)
		reconnect()
		s.Eventually(t, 2*time.Minute, func() error {
			found, err := s.Client.CoreV1().Nodes().Get(s.Ctx, node, metav1.GetOptions{})
			if err == nil && len(found.Spec.Taints) > 0 {
				err = errors.New("the node is not back")
			}
			return err
		})
		kit.Must(t, s.WaitRollout(s.Ctx))
	})
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
