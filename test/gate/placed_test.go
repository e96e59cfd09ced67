package gate

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"sts-mutating-webhook/test/kit"
)

// watchPlaced sends when the last of the pods came into its place. A pod counts once it was there: a rollout that goes on deletes and
// creates pods again. It watches, because to list all of them again and again would slow down the apiserver that places them; an
// informer, because the apiserver ends a watch that cannot keep up with hundreds of pods in a second.
func (s *suite) watchPlaced(ctx context.Context, t *testing.T, selector string, pods int) <-chan time.Time {
	t.Helper()
	last := make(chan time.Time, 1)
	inPlace := map[string]bool{}
	note := func(object any) { // one goroutine calls it
		pod, ok := object.(*corev1.Pod)
		if !ok || !placed(*pod) || inPlace[pod.Name] {
			return
		}
		if inPlace[pod.Name] = true; len(inPlace) == pods {
			last <- time.Now()
		}
	}
	factory := informers.NewSharedInformerFactoryWithOptions(s.Client, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = selector }))
	informer := factory.Core().V1().Pods().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: note, UpdateFunc: func(_, object any) { note(object) }, DeleteFunc: note,
	})
	kit.Must(t, err)
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return last
}
