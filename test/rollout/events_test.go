package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

// event is something that happens to replicas.
type event struct {
	name string
	// abrupt: the replica is not told, so calls under way cannot be saved.
	abrupt bool
	full   bool // only in the full form
	// replicas at the beginning; zero means replicas.
	replicas int
	// happens to our webhook, then to the textbook.
	happens func(context.Context, *fleet) error
}

func events(full bool) []event {
	restarts := 2
	if full {
		restarts = 10
	}
	return []event{
		{name: fmt.Sprintf("%d rolling restarts", restarts), happens: restarted(restarts)},
		{name: "`kubectl delete pod` of a replica", happens: deleted},
		{name: "drain of a node", happens: drained},
		{name: "scale 2 -> 5 -> 2", happens: scaled},
		{name: "SIGKILL of a replica", abrupt: true, happens: killedOnce},
		{name: "5 x SIGKILL of a replica", abrupt: true, full: true, happens: killed(5)},
		{name: "a node vanishes (1 of 3 replicas)", abrupt: true, full: true, replicas: 3, happens: nodeGone},
	}
}

func killedOnce(ctx context.Context, f *fleet) error { return f.kill(ctx) }

func killed(n int) func(context.Context, *fleet) error {
	return func(ctx context.Context, f *fleet) error {
		for range n {
			// A container that is killed again and again waits before its restart, so a new pod each time.
			if err := errors.Join(f.kill(ctx), deleted(ctx, f), f.settle(ctx)); err != nil {
				return err
			}
		}
		return nil
	}
}

func restarted(n int) func(context.Context, *fleet) error {
	return func(ctx context.Context, f *fleet) error {
		for range n {
			if err := f.restart(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

func deleted(ctx context.Context, f *fleet) error {
	pod, err := f.replica(ctx, anyPod)
	if err != nil {
		return err
	}
	_, err = f.suite.Cluster.Kubectl(ctx, "delete", "pod", pod.Name, "--namespace", f.namespace, "--wait=false")
	return err
}

// drained drains the node of a replica of this webhook's pods, and gives it back.
func drained(ctx context.Context, f *fleet) error {
	pod, err := f.replica(ctx, anyPod)
	if err != nil {
		return err
	}
	node := pod.Spec.NodeName
	_, err = f.suite.Cluster.Kubectl(ctx, "drain", node, "--pod-selector=app="+f.app, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=2m")
	_, uncordon := f.suite.Cluster.Kubectl(ctx, "uncordon", node)
	return errors.Join(err, uncordon)
}

func scaled(ctx context.Context, f *fleet) error {
	for _, n := range []int{5, replicas} {
		if err := errors.Join(f.scale(ctx, n), f.settle(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// nodeGone cuts the power of a node with a replica and gives it back after the
// cluster had time to notice: the node controller waits 50 s (kube-controller-manager,
// --node-monitor-grace-period).
func nodeGone(ctx context.Context, f *fleet) error {
	in := f.suite
	pod, err := f.replica(ctx, func(pod corev1.Pod) bool { return pod.Spec.NodeName != "node-1" }) // it holds the control plane
	if err != nil {
		return err
	}
	node := pod.Spec.NodeName
	if err := in.Cluster.StopNode(ctx, node); err != nil {
		return err
	}
	if err := kit.Sleep(ctx, 90*time.Second); err != nil {
		return err
	}
	if err := in.Cluster.StartNode(ctx, node); err != nil {
		return err
	}
	err = kit.Until(ctx, 2*time.Minute, func(ctx context.Context) error {
		n, err := in.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		if err != nil {
			return err
		}
		i := slices.IndexFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == corev1.NodeReady })
		if i < 0 || n.Status.Conditions[i].Status != corev1.ConditionTrue {
			return errors.New("the node is not Ready again")
		}
		return nil
	})
	if err != nil {
		return err
	}
	// The textbook's replica does not always come back by itself.
	_, err = in.Cluster.Kubectl(ctx, "delete", "pods", "--namespace", "textbook-system", "--field-selector=spec.nodeName="+node, "--force", "--grace-period=0")
	return err
}

func (s *suite) testEvents(t *testing.T) {
	ctx := s.Ctx
	controlLost := 0
	for _, e := range events(!testing.Short()) {
		if e.full && testing.Short() {
			continue
		}
		t.Run(strings.Trim(e.name, "`"), func(t *testing.T) {
			reports := []load.Report{s.runEvent(ctx, t, e, s.ours)}
			defer func() { s.rows = append(s.rows, newRow(e, reports)) }() // also when the control does not recover
			if s.control != nil {
				reports = append(reports, s.runEvent(ctx, t, e, s.control))
			}
			if e.abrupt {
				return
			}
			if n := reports[0].Lost(); n > 0 {
				t.Errorf("lost %d creations: %v", n, reports[0].Causes())
			}
			if n := reports[0].Count(load.Admitted); n < 100 {
				t.Errorf("%d creations, too few to prove anything", n)
			}
			if len(reports) > 1 {
				controlLost += reports[1].Lost()
			}
		})
	}
	if s.control != nil && controlLost == 0 {
		t.Error("the textbook webhook lost nothing either: the test proves nothing")
	}
}

const (
	// attempts is how often an event is tried while the machine stalls.
	attempts = 3
	// stalled is what the creation of a pod that no webhook sees takes when the
	// cluster itself is not able to answer; ordinarily it takes a hundredth of that.
	stalled = time.Second
)

// runEvent lets an event happen to a fleet under load, and returns what the load saw.
// A run in which the machine stalled and calls timed out for it is repeated.
func (s *suite) runEvent(ctx context.Context, t *testing.T, e event, f *fleet) load.Report {
	t.Helper()
	for n := 1; ; n++ {
		report, stall := s.attempt(ctx, t, f, e)
		t.Logf("%s: %s %v", f.name, report, report.Causes())
		if n < attempts && stall > stalled && report.Lost() > 0 && onlyTimeouts(report.Causes()) && !e.abrupt {
			t.Logf("repeated: the cluster took %.1f s for a pod that no webhook sees", stall.Seconds())
			continue
		}
		return report
	}
}

// onlyTimeouts reports whether there are causes, and each is a timeout of the call to the webhook.
func onlyTimeouts(causes map[string]int) bool {
	for cause := range causes {
		if !strings.Contains(cause, "context deadline exceeded") {
			return false
		}
	}
	return len(causes) > 0
}

// startCanary begins to create pods that no webhook sees, 5 a second. What they take is what the cluster itself takes.
func (s *suite) startCanary(ctx context.Context) (*load.Run, error) {
	return load.Start(ctx, load.Options{Target: load.Target{Config: s.Cluster.RESTConfig(), Namespace: loadNamespace, OptIn: "seen-by-nobody"}, Rate: 5})
}

// longest is the longest time that the cluster took to answer.
func longest(r load.Report) time.Duration {
	var most time.Duration
	for _, s := range r.Samples {
		if s.Outcome != load.Unavailable {
			most = max(most, s.Latency)
		}
	}
	return most
}

// attempt is one run. It also returns the longest time that the cluster took for a
// pod that no webhook sees.
func (s *suite) attempt(ctx context.Context, t *testing.T, f *fleet, e event) (load.Report, time.Duration) {
	t.Helper()
	kit.Must(t, f.scale(ctx, max(e.replicas, replicas)))
	kit.Must(t, f.settle(ctx))
	canary, err := s.startCanary(ctx)
	kit.Must(t, err)
	defer canary.Stop()
	run, err := f.startLoad(ctx)
	kit.Must(t, err)
	defer run.Stop()
	kit.Must(t, kit.Sleep(ctx, 2*time.Second))
	kit.Must(t, e.happens(ctx, f))
	kit.Must(t, f.settle(ctx)) // what drains is under load to its end
	kit.Must(t, kit.Sleep(ctx, time.Second))
	return run.Stop(), longest(canary.Stop())
}
