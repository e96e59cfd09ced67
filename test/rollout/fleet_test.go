package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/process"
)

// fleet is the replicas of one webhook.
type fleet struct {
	suite *suite
	name  string
	// optIn is the label that sends a pod to this webhook.
	namespace, app, program, optIn string
}

// pods are all replicas, those that end included.
func (f *fleet) pods(ctx context.Context) ([]corev1.Pod, error) {
	list, err := f.suite.Client.CoreV1().Pods(f.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + f.app})
	if err != nil {
		return nil, fmt.Errorf("list replicas of %s: %w", f.name, err)
	}
	return list.Items, nil
}

// replica is one that serves; accept narrows the choice.
func (f *fleet) replica(ctx context.Context, accept func(corev1.Pod) bool) (corev1.Pod, error) {
	pods, err := f.pods(ctx)
	if err != nil {
		return corev1.Pod{}, err
	}
	for _, pod := range pods {
		if pod.DeletionTimestamp == nil && kit.Ready(pod) && accept(pod) {
			return pod, nil
		}
	}
	return corev1.Pod{}, fmt.Errorf("choose a replica of %s: none of %d will do", f.name, len(pods))
}

func anyPod(corev1.Pod) bool { return true }

func (f *fleet) patch(ctx context.Context, format string, args ...any) error {
	_, err := f.suite.Client.AppsV1().Deployments(f.namespace).Patch(ctx, f.app, types.StrategicMergePatchType, fmt.Appendf(nil, format, args...), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("patch Deployment of %s: %w", f.name, err)
	}
	return nil
}

func (f *fleet) scale(ctx context.Context, n int) error {
	return f.patch(ctx, `{"spec":{"replicas":%d}}`, n)
}

// restart does what kubectl rollout restart and status do.
func (f *fleet) restart(ctx context.Context) error {
	err := f.patch(ctx, `{"spec":{"template":{"metadata":{"annotations":{"restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	if err != nil {
		return err
	}
	return f.rolledOut(ctx)
}

// waitTimeout bounds a rollout; the textbook's first one takes a minute and a half.
const waitTimeout = 4 * time.Minute

// rolledOut waits until every replica is of the newest template and Ready.
func (f *fleet) rolledOut(ctx context.Context) error {
	err := kit.Until(ctx, waitTimeout, func(ctx context.Context) error {
		d, err := f.suite.Client.AppsV1().Deployments(f.namespace).Get(ctx, f.app, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if s, n := d.Status, *d.Spec.Replicas; s.ObservedGeneration < d.Generation || s.Replicas != n || s.UpdatedReplicas != n || s.AvailableReplicas != n {
			return fmt.Errorf("%d replicas, %d updated, %d available, want %d", s.Replicas, s.UpdatedReplicas, s.AvailableReplicas, n)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("roll out %s: %w", f.name, err)
	}
	return nil
}

// settle waits until no replica starts or ends any more.
func (f *fleet) settle(ctx context.Context) error {
	if err := f.rolledOut(ctx); err != nil {
		return err
	}
	return kit.Until(ctx, waitTimeout, func(ctx context.Context) error {
		pods, err := f.pods(ctx)
		if err != nil {
			return err
		}
		for _, pod := range pods {
			if pod.DeletionTimestamp != nil || !kit.Ready(pod) {
				return fmt.Errorf("wait for %s: it starts or ends", pod.Name)
			}
		}
		return nil
	})
}

// kill ends the process of a replica without warning.
func (f *fleet) kill(ctx context.Context) error {
	pod, err := f.replica(ctx, anyPod)
	if err != nil {
		return err
	}
	pid, err := process.PID(pod, f.program)
	if err != nil {
		return err
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return fmt.Errorf("kill %s: %w", pod.Name, err)
	}
	return kit.Until(ctx, time.Minute, func(ctx context.Context) error {
		now, err := f.suite.Client.CoreV1().Pods(f.namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if now.Status.ContainerStatuses[0].RestartCount == pod.Status.ContainerStatuses[0].RestartCount || !kit.Ready(*now) {
			return errors.New("the container was not restarted")
		}
		return nil
	})
}

// startLoad begins to create pods that go to this webhook, 50 a second.
func (f *fleet) startLoad(ctx context.Context) (*load.Run, error) {
	return load.Start(ctx, load.Options{Target: f.target()})
}

func (f *fleet) target() load.Target {
	return load.Target{Config: f.suite.Cluster.RESTConfig(), Namespace: loadNamespace, OptIn: f.optIn}
}
