package rollout

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/process"
)

// fleet is the replicas of one webhook.
type fleet struct {
	*suite
	name string
	// optIn is the label that sends a pod to this webhook.
	namespace, app, program, optIn string
}

// waitTimeout bounds a rollout; the textbook's first one takes a minute and a half.
const waitTimeout = 4 * time.Minute

// pods are all replicas, those that end included.
func (f *fleet) pods() (*corev1.PodList, error) {
	return f.Client.CoreV1().Pods(f.namespace).List(f.Ctx, metav1.ListOptions{LabelSelector: "app=" + f.app})
}

// replica waits for one that serves. A function narrows the choice; nil does not.
func (f *fleet) replica(t *testing.T, accept func(corev1.Pod) bool) (chosen corev1.Pod) {
	t.Helper()
	f.Eventually(t, waitTimeout, func() error {
		pods, err := f.pods()
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			if pod.DeletionTimestamp == nil && kit.Ready(pod) && (accept == nil || accept(pod)) {
				chosen = pod
				return nil
			}
		}
		return fmt.Errorf("choose a replica of %s: none of %d will do", f.name, len(pods.Items))
	})
	return chosen
}

// patch changes the Deployment.
func (f *fleet) patch(t *testing.T, format string, args ...any) {
	t.Helper()
	patch := fmt.Appendf(nil, format, args...)
	_, err := f.Client.AppsV1().Deployments(f.namespace).Patch(f.Ctx, f.app, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	kit.Must(t, err)
}

func (f *fleet) scale(t *testing.T, n int) {
	t.Helper()
	f.patch(t, `{"spec":{"replicas":%d}}`, n)
}

// restart does what kubectl rollout restart and status do.
func (f *fleet) restart(t *testing.T) {
	t.Helper()
	f.patch(t, `{"spec":{"template":{"metadata":{"annotations":{"restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	f.rolledOut(t)
}

// rolledOut waits until every replica is of the newest template and Ready.
func (f *fleet) rolledOut(t *testing.T) {
	t.Helper()
	f.Eventually(t, waitTimeout, func() error {
		d, err := f.Client.AppsV1().Deployments(f.namespace).Get(f.Ctx, f.app, metav1.GetOptions{})
		if err != nil {
			return err
		}
		s, n := d.Status, *d.Spec.Replicas
		if s.ObservedGeneration < d.Generation || s.Replicas != n || s.UpdatedReplicas != n || s.AvailableReplicas != n {
			return fmt.Errorf("roll out %s: %d replicas, %d updated, %d available, want %d",
				f.name, s.Replicas, s.UpdatedReplicas, s.AvailableReplicas, n)
		}
		return nil
	})
}

// settle waits until no replica starts or ends any more.
func (f *fleet) settle(t *testing.T) {
	t.Helper()
	f.rolledOut(t)
	f.Eventually(t, waitTimeout, func() error {
		pods, err := f.pods()
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			if pod.DeletionTimestamp != nil || !kit.Ready(pod) {
				return fmt.Errorf("wait for %s: it starts or ends", pod.Name)
			}
		}
		return nil
	})
}

// kill ends the process of a replica without warning.
func (f *fleet) kill(t *testing.T) {
	t.Helper()
	pod := f.replica(t, nil)
	pid, err := process.PID(pod, f.program)
	kit.Must(t, err)
	kit.Must(t, unix.Kill(pid, unix.SIGKILL))
	f.Eventually(t, time.Minute, func() error {
		now, err := f.Client.CoreV1().Pods(f.namespace).Get(f.Ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if now.Status.ContainerStatuses[0].RestartCount == pod.Status.ContainerStatuses[0].RestartCount || !kit.Ready(*now) {
			return errors.New("the container was not restarted")
		}
		return nil
	})
}

func (f *fleet) deletePod(t *testing.T) {
	t.Helper()
	f.Kubectl(t, "delete", "pod", f.replica(t, nil).Name, "--namespace", f.namespace, "--wait=false")
}

// drain drains the node of a replica of this webhook's pods, and gives it back.
func (f *fleet) drain(t *testing.T) {
	t.Helper()
	node := f.replica(t, nil).Spec.NodeName
	defer f.Kubectl(t, "uncordon", node)
	f.Kubectl(t, "drain", node, "--pod-selector=app="+f.app, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=2m")
}

// loseNode cuts the power of a node with a replica and gives it back after the cluster had time to notice: the node controller
// waits 50 s (kube-controller-manager, --node-monitor-grace-period).
func (f *fleet) loseNode(t *testing.T) {
	t.Helper()
	node := f.replica(t, func(pod corev1.Pod) bool { return pod.Spec.NodeName != "node-1" }).Spec.NodeName // node-1 holds the control plane
	kit.Must(t, f.Cluster.StopNode(f.Ctx, node))
	kit.Must(t, kit.Sleep(f.Ctx, 90*time.Second))
	kit.Must(t, f.Cluster.StartNode(f.Ctx, node))
	f.Kubectl(t, "wait", "--for=condition=Ready", "node/"+node, "--timeout=2m")
	// The textbook's replica does not always come back by itself.
	f.Kubectl(t, "delete", "pods", "--namespace", "textbook-system", "--field-selector=spec.nodeName="+node, "--force", "--grace-period=0")
}
