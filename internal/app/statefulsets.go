package app

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"sts-mutating-webhook/internal/inventory"
	"sts-mutating-webhook/internal/plan"
)

// checkOptions say what StatefulSets are compared with when they are applied.
type checkOptions struct{ nodes, volumes bool }

func (o *checkOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.nodes, "check-nodes", true, "when a StatefulSet is applied, warn of pods that no node can take, by its labels and taints; without the right to list and watch nodes it waits for it")
	f.BoolVar(&o.volumes, "check-volumes", false, "and of pods whose volume is bound to another node; needs --check-nodes, and the right to list and watch persistent volumes and their claims")
}

func (o *checkOptions) validate() error {
	if o.volumes && !o.nodes {
		return fmt.Errorf("--check-volumes=true: needs --check-nodes=true")
	}
	return nil
}

// stripNode returns what of a node matters for who may run on it.
func stripNode(n *corev1.Node) corev1.Node {
	return corev1.Node{
		TypeMeta:   n.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, UID: n.UID, ResourceVersion: n.ResourceVersion, Labels: n.Labels},
		Spec:       corev1.NodeSpec{Taints: n.Spec.Taints, Unschedulable: n.Spec.Unschedulable},
	}
}

// objects are what is watched, and how little of it is kept.
func (o *checkOptions) objects() map[client.Object]cache.ByObject {
	objects := map[client.Object]cache.ByObject{}
	if o.nodes {
		// Whole nodes arrive, since taints are not in the metadata; with their status they would be some ten times as large.
		objects[&corev1.Node{}] = cache.ByObject{Transform: func(obj any) (any, error) {
			if n, ok := obj.(*corev1.Node); ok {
				*n = stripNode(n)
			}
			return obj, nil
		}}
	}
	if o.volumes {
		objects[&corev1.PersistentVolumeClaim{}] = cache.ByObject{Transform: func(obj any) (any, error) {
			if c, ok := obj.(*corev1.PersistentVolumeClaim); ok {
				*c = corev1.PersistentVolumeClaim{
					TypeMeta:   c.TypeMeta,
					ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name, UID: c.UID, ResourceVersion: c.ResourceVersion},
					Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: c.Spec.VolumeName},
				}
			}
			return obj, nil
		}}
		objects[&corev1.PersistentVolume{}] = cache.ByObject{Transform: func(obj any) (any, error) {
			if v, ok := obj.(*corev1.PersistentVolume); ok {
				*v = corev1.PersistentVolume{
					TypeMeta:   v.TypeMeta,
					ObjectMeta: metav1.ObjectMeta{Name: v.Name, UID: v.UID, ResourceVersion: v.ResourceVersion},
					Spec:       corev1.PersistentVolumeSpec{NodeAffinity: v.Spec.NodeAffinity},
				}
			}
			return obj, nil
		}}
	}
	return objects
}

// clusterView answers from memory what the cluster has. Until all of it has been read, and while nothing may be read, it says
// nothing.
type clusterView struct {
	options checkOptions
	live    client.Reader
	cache   cache.Cache
	log     logr.Logger
	// known is set when everything is in the cache.
	known atomic.Pointer[inventory.Inventory]
}

// retryRights is how often it is looked whether the right to read was granted.
const retryRights = time.Minute

// Start begins to watch as soon as that is allowed. A watch that is not allowed would fill the log.
func (v *clusterView) Start(ctx context.Context) error {
	logged := false
	for ctx.Err() == nil {
		err := v.watch(ctx)
		if err == nil {
			return nil
		}
		if !logged && ctx.Err() == nil {
			v.log.Info("not comparing StatefulSets with the cluster: apply manifests/11-rbac-nodes.yaml, or start with --check-nodes=false", "cause", err.Error())
			logged = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryRights):
		}
	}
	return nil
}

// watch returns nil when everything has been read.
func (v *clusterView) watch(ctx context.Context) error {
	objects := v.options.objects()
	for obj := range objects {
		list := &metav1.PartialObjectMetadataList{}
		gvk, err := apiutil.GVKForObject(obj, scheme())
		if err != nil {
			return err
		}
		list.SetGroupVersionKind(gvk)
		if err := v.live.List(ctx, list, client.Limit(1)); err != nil {
			return err
		}
	}
	known := &inventory.Inventory{}
	for obj := range objects {
		if _, err := v.cache.GetInformer(ctx, obj); err != nil { // waits until it has been read
			return fmt.Errorf("watch %T: %w", obj, err)
		}
	}
	if v.options.nodes {
		known.Nodes = v.cache
	}
	if v.options.volumes {
		known.Volumes = v.cache
	}
	v.known.Store(known)
	return nil
}

// Problems are asked for while somebody waits for kubectl.
func (v *clusterView) Problems(set *appsv1.StatefulSet, rows []plan.Row) []plan.Problem {
	known := v.known.Load()
	if known == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	problems, err := known.Problems(ctx, set, rows)
	if err != nil {
		v.log.V(1).Info("cannot compare a StatefulSet with the cluster", "namespace", set.Namespace, "statefulSet", set.Name, "cause", err.Error())
	}
	return problems
}
