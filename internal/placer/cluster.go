package placer

import (
	"context"
	"fmt"
	"maps"
	"net/http"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Cluster is what the placer needs of Kubernetes.
type Cluster interface {
	// Allowed reports whether pods may be listed, watched and patched.
	Allowed(context.Context) (bool, error)
	// Watch passes the opted-in pods that are not scheduled yet to the handler, until
	// ctx ends.
	Watch(context.Context, toolscache.ResourceEventHandler) error
	// Patch applies a JSON patch to the pod.
	Patch(ctx context.Context, pod *corev1.Pod, patch []byte) error
}

// Requests per second that one replica makes at most, and how many at once after a
// pause: 2000 pods that wait are placed in seconds, and the apiserver has room for others.
const requestRate, requestBurst = 200, 400

// NewCluster returns the Cluster of a rest.Config. The label and its value opt a pod
// in; annotations and labels with a name that keep accepts are passed on by Watch.
func NewCluster(
	config *rest.Config, httpClient *http.Client, scheme *runtime.Scheme, mapper meta.RESTMapper, optIn labels.Set, keep func(string) bool,
) (Cluster, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = requestRate, requestBurst
	c, err := client.New(config, client.Options{HTTPClient: httpClient, Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("create client: %w", err)
	}
	return &realCluster{config, httpClient, scheme, mapper, c, optIn, keep}, nil
}

type realCluster struct {
	config *rest.Config
	http   *http.Client
	scheme *runtime.Scheme
	mapper meta.RESTMapper
	client client.Client
	optIn  labels.Set
	keep   func(string) bool
}

// Allowed asks the apiserver, which everybody may, rather than to try: what is
// forbidden would fill its audit log.
func (c *realCluster) Allowed(ctx context.Context) (bool, error) {
	for _, verb := range []string{"list", "watch", "patch"} {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Version: "v1", Resource: "pods"},
		}}
		if err := c.client.Create(ctx, review); err != nil {
			return false, fmt.Errorf("ask whether to %s pods is allowed: %w", verb, err)
		}
		if !review.Status.Allowed {
			return false, nil
		}
	}
	return true, nil
}

// Watch has a cache of its own, which ends with the right to watch. The manager's is for
// as long as the process lives.
func (c *realCluster) Watch(ctx context.Context, handler toolscache.ResourceEventHandler) error {
	pods, err := cache.New(c.config, cache.Options{
		HTTPClient: c.http, Scheme: c.scheme, Mapper: c.mapper,
		ByObject: map[client.Object]cache.ByObject{&corev1.Pod{}: {
			Label:     c.optIn.AsSelector(),
			Field:     fields.Set{"spec.nodeName": "", "status.phase": string(corev1.PodPending)}.AsSelector(),
			Transform: func(object any) (any, error) { return c.trim(object), nil },
		}},
	})
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	informer, err := pods.GetInformer(ctx, &corev1.Pod{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	if _, err := informer.AddEventHandler(handler); err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	return pods.Start(ctx)
}

func (c *realCluster) trim(object any) any {
	if pod, ok := object.(*corev1.Pod); ok {
		return Trim(pod, c.keep)
	}
	return object
}

// Trim returns what is kept of a pod: what decisions rest on. keep accepts the names of
// labels and annotations. Of a pod that is not behind the gate little is kept.
func Trim(pod *corev1.Pod, keep func(string) bool) *corev1.Pod {
	m := pod.ObjectMeta
	kept := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
	}}
	if !gated(pod) {
		return kept
	}
	kept.OwnerReferences = m.OwnerReferences
	kept.Labels, kept.Annotations = keptOf(m.Labels, keep), keptOf(m.Annotations, keep)
	kept.Spec = corev1.PodSpec{
		SchedulingGates: pod.Spec.SchedulingGates, NodeSelector: pod.Spec.NodeSelector,
		Affinity: pod.Spec.Affinity, Tolerations: pod.Spec.Tolerations,
	}
	return kept
}

func keptOf(all map[string]string, keep func(string) bool) map[string]string {
	kept := maps.Clone(all)
	maps.DeleteFunc(kept, func(name, _ string) bool { return !keep(name) })
	return kept
}

func (c *realCluster) Patch(ctx context.Context, pod *corev1.Pod, patch []byte) error {
	target := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
	return c.client.Patch(ctx, target, client.RawPatch(types.JSONPatchType, patch))
}
