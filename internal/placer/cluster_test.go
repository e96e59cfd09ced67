package placer

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
)

// latency is what the fake cluster takes for a patch, and for the news of one.
const latency = 5 * time.Millisecond

// fakeCluster stores pods and knows of patches only that they remove the gate.
type fakeCluster struct {
	t *testing.T
	// mu guards the rest.
	mu       sync.Mutex
	allowed  bool
	checks   int                    // calls of Allowed
	pods     map[string]*corev1.Pod // by name
	handlers map[*toolscache.ResourceEventHandler]toolscache.ResourceEventHandler
	patches  map[string]int // accepted, by pod
	attempts []time.Time    // of all patches
	fail     error          // what every patch is answered with, if set
}

func newFakeCluster(t *testing.T) *fakeCluster {
	return &fakeCluster{
		t: t, allowed: true, pods: map[string]*corev1.Pod{}, patches: map[string]int{},
		handlers: map[*toolscache.ResourceEventHandler]toolscache.ResourceEventHandler{},
	}
}

func (c *fakeCluster) Allowed(context.Context) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checks++
	return c.allowed, nil
}

func (c *fakeCluster) Watch(ctx context.Context, handler toolscache.ResourceEventHandler) error {
	c.mu.Lock()
	if !c.allowed {
		c.t.Error("pods are watched without the right to")
	}
	c.handlers[&handler] = handler
	for _, pod := range c.pods {
		handler.OnAdd(pod, true)
	}
	c.mu.Unlock()
	<-ctx.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.handlers, &handler)
	return nil
}

func (c *fakeCluster) Patch(_ context.Context, pod *corev1.Pod, patch []byte) error {
	time.Sleep(latency)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempts = append(c.attempts, time.Now())
	var operations []struct{ Op, Path, Value string }
	if err := json.Unmarshal(patch, &operations); err != nil || operations[0].Path != "/metadata/resourceVersion" || len(operations) < 2 {
		c.t.Errorf("patch %s: %v, want one with a resourceVersion first", patch, err)
		return err
	}
	resource, now := schema.GroupResource{Resource: "pods"}, c.pods[pod.Name]
	switch {
	case c.fail != nil:
		return c.fail
	case now == nil:
		return apierrors.NewNotFound(resource, pod.Name)
	case now.ResourceVersion != operations[0].Value:
		return apierrors.NewConflict(resource, pod.Name, nil)
	}
	c.patches[pod.Name]++
	c.store(pod.Name, func(pod *corev1.Pod) { pod.Spec.SchedulingGates = nil })
	return nil
}

// store changes a pod; the watches learn it after latency. mu must be held.
func (c *fakeCluster) store(name string, change func(*corev1.Pod)) {
	before := c.pods[name]
	after := before.DeepCopy()
	change(after)
	version, _ := strconv.Atoi(before.ResourceVersion)
	after.ResourceVersion = fmt.Sprint(version + 1)
	c.pods[name] = after
	c.notify(func(h toolscache.ResourceEventHandler) { h.OnUpdate(before, after) })
}

// notify calls the handlers that are there after latency. mu must be held.
func (c *fakeCluster) notify(each func(toolscache.ResourceEventHandler)) {
	for key := range c.handlers {
		time.AfterFunc(latency, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if h, ok := c.handlers[key]; ok {
				each(h)
			}
		})
	}
}

func (c *fakeCluster) set(change func(*fakeCluster)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

// create stores a pod behind the gate, and others if named.
func (c *fakeCluster) create(name string, gates ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pod := podNamed(name, gates...)
	c.pods[name] = pod
	c.notify(func(h toolscache.ResourceEventHandler) { h.OnAdd(pod, false) })
}

func (c *fakeCluster) remove(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pod := c.pods[name]
	delete(c.pods, name)
	c.notify(func(h toolscache.ResourceEventHandler) {
		h.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "shop/" + name, Obj: pod})
	})
}

func (c *fakeCluster) watches() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.handlers)
}

// placed lists the pods that were patched, and fails for one that was patched twice.
func (c *fakeCluster) placed() (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, n := range c.patches {
		names = append(names, name)
		if n != 1 {
			c.t.Errorf("%s was placed %d times, want once", name, n)
		}
	}
	slices.Sort(names)
	return names
}

func podNamed(name string, gates ...string) *corev1.Pod {
	yes := true
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: name, UID: types.UID("uid-" + name), ResourceVersion: "1", CreationTimestamp: metav1.Now(),
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web", UID: "uid-set", Controller: &yes}},
	}}
	for _, gate := range gates {
		pod.Spec.SchedulingGates = append(pod.Spec.SchedulingGates, corev1.PodSchedulingGate{Name: gate})
	}
	return pod
}
