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
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Nodes are the nodes of one Start.
type Nodes struct {
	client kubernetes.Interface
	names  map[string]bool
	end    context.CancelFunc
	work   sync.WaitGroup

	mu  sync.Mutex
	err error
}

// readyLimit is how long the control plane may take until it takes the nodes for Ready.
const readyLimit = time.Minute

// Start creates the nodes, with room for 10,000 pods each, and returns when the control plane takes them for Ready. They stay so
// until Remove. No kubelet ends the pods of such a node: they must have a terminationGracePeriodSeconds of 0.
func Start(ctx context.Context, client kubernetes.Interface, nodes []*corev1.Node) (*Nodes, error) {
	n := &Nodes{client: client, names: map[string]bool{}}
	leases := make([]*coordinationv1.Lease, len(nodes))
	work, workCtx := errgroup.WithContext(ctx)
	work.SetLimit(10)
	for i, node := range nodes {
		n.names[node.Name] = true
		work.Go(func() (err error) {
			leases[i], err = n.create(workCtx, node)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	caller := ctx
	ctx, n.end = context.WithCancel(ctx)
	n.work.Go(func() { n.renew(ctx, leases) })
	if err := n.runPods(ctx); err != nil {
		return nil, errors.Join(err, n.Remove(caller))
	}
	if err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, readyLimit, true, n.ready); err != nil {
		return nil, errors.Join(fmt.Errorf("wait until %d nodes are Ready: %w", len(nodes), err), n.Remove(caller))
	}
	return n, nil
}

// Remove deletes the nodes. It returns what went wrong since Start.
func (n *Nodes) Remove(ctx context.Context) error {
	n.end()
	n.work.Wait()
	errs := []error{n.err}
	for name := range n.names {
		for _, err := range []error{
			n.client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{}),
			n.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Delete(ctx, name, metav1.DeleteOptions{}),
		} {
			if err != nil && !apierrors.IsNotFound(err) {
				errs = append(errs, fmt.Errorf("delete node: %w", err))
			}
		}
	}
	return errors.Join(errs...)
}

func (n *Nodes) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err == nil {
		n.err = err
	}
}

func (n *Nodes) create(ctx context.Context, node *corev1.Node) (*coordinationv1.Lease, error) {
	if _, err := n.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
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
	if _, err := n.client.CoreV1().Nodes().PatchStatus(ctx, node.Name, status); err != nil {
		return nil, fmt.Errorf("set node Ready: %w", err)
	}
	now := metav1.NowMicro()
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: node.Name},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &node.Name, RenewTime: &now},
	}
	lease, err = n.client.CoordinationV1().Leases(lease.Namespace).Create(ctx, lease, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create lease: %w", err)
	}
	return lease, nil
}

// renewInterval is a kubelet's. After 50 seconds without, the control plane would take a node for lost.
const renewInterval = 10 * time.Second

// renew renews the leases until ctx ends, several at once, since the machine may be slow.
func (n *Nodes) renew(ctx context.Context, leases []*coordinationv1.Lease) {
	tick := time.NewTicker(renewInterval)
	defer tick.Stop()
	for {
		work, workCtx := errgroup.WithContext(ctx)
		work.SetLimit(10)
		for i := range leases {
			work.Go(func() error {
				now := metav1.NowMicro()
				leases[i].Spec.RenewTime = &now
				lease, err := n.client.CoordinationV1().Leases(leases[i].Namespace).Update(workCtx, leases[i], metav1.UpdateOptions{})
				if err != nil {
					return fmt.Errorf("renew lease: %w", err)
				}
				leases[i] = lease
				return nil
			})
		}
		if err := work.Wait(); err != nil {
			n.fail(ctx, err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
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
		if n.names[node.Name] && (tainted(corev1.TaintNodeNotReady) || tainted(corev1.TaintNodeUnschedulable) != node.Spec.Unschedulable) {
			return false, nil
		}
	}
	return true, nil
}

// runPods says of each pod that is bound to one of the nodes that it is Ready, as a kubelet would. The next pod of an OrderedReady
// StatefulSet, and of a rollout, waits for that.
func (n *Nodes) runPods(ctx context.Context) error {
	factory := informers.NewSharedInformerFactoryWithOptions(n.client, 0, informers.WithTransform(slim))
	pods := factory.Core().V1().Pods().Informer()
	_, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
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

// slim keeps of a pod what makeReady reads.
func slim(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion, DeletionTimestamp: pod.DeletionTimestamp},
		Spec:       corev1.PodSpec{NodeName: pod.Spec.NodeName},
		Status:     corev1.PodStatus{Phase: pod.Status.Phase, Conditions: pod.Status.Conditions},
	}, nil
}

// makeReady runs for one pod after the other, in the informer's goroutine.
func (n *Nodes) makeReady(ctx context.Context, pod *corev1.Pod) {
	ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	if !n.names[pod.Spec.NodeName] || ready || pod.DeletionTimestamp != nil {
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
	// One that is gone, or another of the same name, is nobody's fault.
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		n.fail(ctx, fmt.Errorf("set pod %s/%s Ready: %w", pod.Namespace, pod.Name, err))
	}
}
