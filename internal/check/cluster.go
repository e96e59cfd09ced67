package check

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// callTimeout bounds one request.
	callTimeout = 5 * time.Second
	// dryRunTimeout bounds one that makes the apiserver call webhooks: longer than ours may take (timeoutSeconds in manifests/), so
	// that the apiserver's own message arrives, and shorter than the 30 s that it may take for others.
	dryRunTimeout = 12 * time.Second
)

// Cluster reads what the checks look at. Its requests go out at the same time, and each is bounded, so that a snapshot takes at
// most callTimeout and dryRunTimeout together whatever the apiserver does.
type Cluster struct {
	client client.Client
	// raw gets a path of the apiserver that is no object.
	raw func(ctx context.Context, path string) ([]byte, error)
	// timeouts are callTimeout and dryRunTimeout, shorter in tests.
	timeouts struct{ call, dryRun time.Duration }
}

func newCluster(c client.Client, raw func(context.Context, string) ([]byte, error), call, dryRun time.Duration) *Cluster {
	cluster := &Cluster{client: c, raw: raw}
	cluster.timeouts.call, cluster.timeouts.dryRun = call, dryRun
	return cluster
}

// Connect returns the Cluster of a rest.Config. It makes no request.
func Connect(config *rest.Config) (*Cluster, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1                           // some 40 requests at once, and then no more
	config.WarningHandler = rest.NoWarnings{} // of what is created in a dry run
	config.Timeout = dryRunTimeout
	scheme := newScheme()
	c, err := client.New(config, client.Options{Scheme: scheme, Mapper: newMapper()})
	if err != nil {
		return nil, fmt.Errorf("create client: %w", err)
	}
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	plain, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("create client: %w", err)
	}
	raw := func(ctx context.Context, path string) ([]byte, error) { return plain.Get().AbsPath(path).DoRaw(ctx) }
	return newCluster(c, raw, callTimeout, dryRunTimeout), nil
}

func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, admissionv1.AddToScheme, authorizationv1.AddToScheme, metav1.AddMetaToScheme,
	} {
		utilruntime.Must(add(s))
	}
	return s
}

// newMapper saves discovery, and knows also kinds that the apiserver does not know.
func newMapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	for _, o := range slices.Concat(installed, gateObjects) {
		var scope meta.RESTScope = meta.RESTScopeNamespace
		if o.Namespace == "" {
			scope = meta.RESTScopeRoot
		}
		m.Add(o.GroupVersionKind, scope)
	}
	m.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	m.Add(appsv1.SchemeGroupVersion.WithKind("StatefulSet"), meta.RESTScopeNamespace)
	m.Add(authorizationv1.SchemeGroupVersion.WithKind("SubjectAccessReview"), meta.RESTScopeRoot)
	m.Add(authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectAccessReview"), meta.RESTScopeRoot)
	return m
}

// Reach returns an error if the apiserver cannot be reached or does not know the user.
func (c *Cluster) Reach(ctx context.Context) (*version.Info, error) {
	text, err := call(ctx, c.timeouts.call, func(ctx context.Context) ([]byte, error) { return c.raw(ctx, "/version") })
	if err != nil {
		return nil, err
	}
	info := &version.Info{}
	if err := json.Unmarshal(text, info); err != nil {
		return nil, fmt.Errorf("parse /version: %w", err)
	}
	return info, nil
}

// call bounds one request.
func call[T any](ctx context.Context, limit time.Duration, request func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return request(ctx)
}

// start makes a request in a goroutine that wg waits for.
func start[T any](ctx context.Context, wg *sync.WaitGroup, limit time.Duration, to *Answer[T], request func(context.Context) (T, error)) {
	wg.Go(func() { to.Value, to.Err = call(ctx, limit, request) })
}

// get reads one object.
func get[T client.Object](c *Cluster, namespace, name string, into T) func(context.Context) (T, error) {
	return func(ctx context.Context) (T, error) {
		return into, c.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, into)
	}
}

// dryRun creates an object that is not stored, and returns it as admission made it.
func dryRun[T client.Object](c *Cluster, object T) func(context.Context) (T, error) {
	return func(ctx context.Context) (T, error) { return object, c.client.Create(ctx, object, client.DryRunAll) }
}

// labelsOf returns the labels of those of the objects that exist.
func (c *Cluster) labelsOf(ctx context.Context, objects []Object) (map[Object]map[string]string, error) {
	return collect(objects, func(o Object) (map[string]string, bool, error) {
		found := &metav1.PartialObjectMetadata{}
		found.SetGroupVersionKind(o.GroupVersionKind)
		err := c.client.Get(ctx, o.NamespacedName, found)
		if apierrors.IsNotFound(err) {
			return nil, false, nil
		}
		return found.Labels, err == nil, err
	})
}

// deniedOf returns those of the rights that review does not allow, in their order.
func deniedOf(rights []Right, review func(Right) (bool, error)) ([]Right, error) {
	denied, err := collect(rights, func(r Right) (struct{}, bool, error) {
		allowed, err := review(r)
		return struct{}{}, err == nil && !allowed, err
	})
	return slices.DeleteFunc(slices.Clone(rights), func(r Right) bool { _, found := denied[r]; return !found }), err
}

// collect calls get with all keys at once, and returns the values that are to be kept. The error is one of those that get returned.
func collect[K comparable, V any](keys []K, get func(K) (V, bool, error)) (map[K]V, error) {
	var mu sync.Mutex // guards the next two
	kept := map[K]V{}
	var failed error
	var wg sync.WaitGroup
	for _, key := range keys {
		wg.Go(func() {
			value, keep, err := get(key)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
			}
			if keep {
				kept[key] = value
			}
		})
	}
	wg.Wait()
	return kept, failed
}

// attributes are the right as access reviews have it.
func (r Right) attributes() *authorizationv1.ResourceAttributes {
	return &authorizationv1.ResourceAttributes{Group: r.Group, Resource: r.Resource, Namespace: r.Namespace, Name: r.Name, Verb: r.Verb}
}

// gateFound says which objects of the gate exist.
func (c *Cluster) gateFound(ctx context.Context) (map[Object]bool, error) {
	labels, err := c.labelsOf(ctx, gateObjects)
	found := map[Object]bool{}
	for o := range maps.Keys(labels) {
		found[o] = true
	}
	return found, err
}
