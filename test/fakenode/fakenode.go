// Package fakenode keeps Node objects alive that no kubelet stands behind, so that a test has as many nodes as it likes: the control
// plane takes them for Ready, the scheduler binds pods to them, and the pods become Ready at once without running.
package fakenode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	coordinationv1 "k8s.io/client-go/applyconfigurations/coordination/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const (
	// readyLimit is how long the control plane may take until it takes the nodes for Ready.
	readyLimit = time.Minute
	// renewInterval is a kubelet's. After 50 seconds without, the control plane would take a node for lost.
	renewInterval = 10 * time.Second
)

// Nodes are the nodes of one Start.
type Nodes struct {
	client kubernetes.Interface
	names  sets.Set[string]
	end    context.CancelFunc
	work   sync.WaitGroup

	mu   sync.Mutex // guards errs
	errs []error
}

// Start creates the nodes, with room for 10,000 pods each, and returns when the control plane takes them for Ready. They stay so
// until Remove. No kubelet ends the pods of such a node: they must have a terminationGracePeriodSeconds of 0.
func Start(ctx context.Context, client kubernetes.Interface, nodes []*corev1.Node) (*Nodes, error) {
	running, end := context.WithCancel(ctx)
	n := &Nodes{client: client, names: sets.New[string](), end: end}
	work, workCtx := errgroup.WithContext(ctx)
	work.SetLimit(10)
	for _, node := range nodes {
		n.names.Insert(node.Name)
		work.Go(func() error { return n.create(workCtx, node) })
	}
	err := work.Wait()
	if err == nil {
		n.work.Go(func() { wait.UntilWithContext(running, n.renew, renewInterval) })
		err = n.runPods(running)
	}
	if err == nil {
		err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, readyLimit, true, n.ready)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %d nodes: %w", len(nodes), err), n.Remove(ctx))
	}
	return n, nil
}

// Remove deletes the nodes. It returns what went wrong since Start.
func (n *Nodes) Remove(ctx context.Context) error {
	n.end()
	n.work.Wait()
	for name := range n.names {
		for _, err := range []error{
			n.client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{}),
			n.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Delete(ctx, name, metav1.DeleteOptions{}),
		} {
			if err != nil && !apierrors.IsNotFound(err) {
				n.errs = append(n.errs, fmt.Errorf("delete node: %w", err))
			}
		}
	}
	return errors.Join(n.errs...)
}

// fail notes an error that is not due to the end of ctx.
func (n *Nodes) fail(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.errs = append(n.errs, err)
}

func (n *Nodes) create(ctx context.Context, node *corev1.Node) error {
	if _, err := n.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create node: %w", err)
	}
	room := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("1k"),
		corev1.ResourceMemory: resource.MustParse("1Ti"),
		corev1.ResourcePods:   resource.MustParse("10k"),
	}
	ready := corev1.NodeCondition{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Fake", LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
	}
	// A patch, since the node's taints are being written meanwhile.
	status := corev1.NodeStatus{Capacity: room, Allocatable: room, Conditions: []corev1.NodeCondition{ready}}
	patch, err := json.Marshal(corev1.Node{Status: status})
	if err == nil {
		_, err = n.client.CoreV1().Nodes().PatchStatus(ctx, node.Name, patch)
	}
	if err != nil {
		return fmt.Errorf("set node Ready: %w", err)
	}
	return n.renewLease(ctx, node.Name)
}

// renew renews the leases, several at once, since the machine may be slow.
func (n *Nodes) renew(ctx context.Context) {
	work, workCtx := errgroup.WithContext(ctx)
	work.SetLimit(10)
	for name := range n.names {
		work.Go(func() error { return n.renewLease(workCtx, name) })
	}
	n.fail(ctx, work.Wait())
}

// renewLease also creates it.
func (n *Nodes) renewLease(ctx context.Context, node string) error {
	lease := coordinationv1.Lease(node, corev1.NamespaceNodeLease).
		WithSpec(coordinationv1.LeaseSpec().WithHolderIdentity(node).WithRenewTime(metav1.NowMicro()))
	leases := n.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	_, err := leases.Apply(ctx, lease, metav1.ApplyOptions{FieldManager: "fakenode", Force: true})
	if err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	return nil
}

// ready reports whether no node has the taint of one that is not, and whether just those that are cordoned have theirs.
func (n *Nodes) ready(ctx context.Context) (bool, error) {
	list, err := n.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, nil
	}
	for _, node := range list.Items {
		tainted := func(key string) bool {
			return slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == key })
		}
		if n.names.Has(node.Name) && (tainted(corev1.TaintNodeNotReady) || tainted(corev1.TaintNodeUnschedulable) != node.Spec.Unschedulable) {
			return false, nil
		}
	}
	return true, nil
}

// runPods says of each pod that is bound to one of the nodes that it is Ready, as a kubelet would. The next pod of an OrderedReady
// StatefulSet, and of a rollout, waits for that.
func (n *Nodes) runPods(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(n.client, 0)
	_, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { n.makeReady(ctx, object.(*corev1.Pod)) },
		UpdateFunc: func(_, object any) { n.makeReady(ctx, object.(*corev1.Pod)) },
	})
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	factory.Start(ctx.Done())
	n.work.Go(func() { <-ctx.Done(); factory.Shutdown() })
	return nil
}

// makeReady runs for one pod after the other, in the informer's goroutine.
func (n *Nodes) makeReady(ctx context.Context, pod *corev1.Pod) {
	ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	if !n.names.Has(pod.Spec.NodeName) || ready || pod.DeletionTimestamp != nil {
		return
	}
	now := metav1.Now()
	status := corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now}
	for _, condition := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		status.Conditions = append(status.Conditions, corev1.PodCondition{Type: condition, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	if err == nil {
		_, err = n.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	}
	// One that is gone, or another of the same name, is no failure.
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		n.fail(ctx, fmt.Errorf("set pod %s/%s Ready: %w", pod.Namespace, pod.Name, err))
	}
}
