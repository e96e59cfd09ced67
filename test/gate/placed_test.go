package gate

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
)

// watchPlaced sends when the last of the pods came into its place. A pod counts once it was there: a rollout that goes on deletes and
// creates pods again. It watches, because to list all of them again and again would slow down the apiserver that places them.
func (s *suite) watchPlaced(ctx context.Context, t *testing.T, selector string, pods int) <-chan time.Time {
	t.Helper()
	client := s.Client.CoreV1().Pods(namespace)
	list, err := client.List(ctx, metav1.ListOptions{LabelSelector: selector})
	kit.Must(t, err)
	inPlace := map[string]bool{}
	note := func(pod *corev1.Pod) {
		if placed(*pod) {
			inPlace[pod.Name] = true
		}
	}
	for i := range list.Items {
		note(&list.Items[i])
	}
	watch, err := client.Watch(ctx, metav1.ListOptions{LabelSelector: selector, ResourceVersion: list.ResourceVersion})
	kit.Must(t, err)
	last := make(chan time.Time, 1)
	go func() {
		defer watch.Stop()
		for len(inPlace) < pods {
			event, open := <-watch.ResultChan()
			if !open {
				return
			}
			if pod, ok := event.Object.(*corev1.Pod); ok {
				note(pod)
			}
		}
		last <- time.Now()
	}()
	return last
}
