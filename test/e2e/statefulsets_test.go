package e2e

import (
	"fmt"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

const misspelt = `{"key": "name", "evn": "node1", "odd": "node2"}`

// withoutChecks removes the check of StatefulSets, so that one with a mistake is stored and its pods are refused. The function
// that it returns brings it back.
func (s *suite) withoutChecks(t *testing.T) (restore func()) {
	t.Helper()
	kit.Must(t, s.within(s.StopChecks))
	return func() {
		t.Helper()
		kit.Must(t, s.within(s.StartChecks))
	}
}

func (s *suite) testStatefulSets(t *testing.T) {
	namespace := s.namespace(t)
	kit.Must(t, s.within(s.StartChecks))
	t.Run("a mistake is refused and the running pods are untouched", func(t *testing.T) { s.testRunningPods(t, namespace) })
	t.Run("an outage blocks no StatefulSet", func(t *testing.T) { s.testOutage(t, namespace) })
	s.makeShop(t)
	s.checkVolumes(t)
	t.Run("kubectl prints what is refused, and what may not be meant", s.testKubectl)
}

func (s *suite) testRunningPods(t *testing.T, namespace string) {
	sets := s.Client.AppsV1().StatefulSets(namespace)
	before := uids(s.apply(t, namespace, kit.StatefulSet("web", 2, kit.ByParity)))
	set, err := sets.Get(s.Ctx, "web", metav1.GetOptions{})
	kit.Must(t, err)
	generation := set.Generation
	if err := s.changeRule(namespace, "web", misspelt); !apierrors.IsInvalid(err) {
		t.Errorf("update with a mistake: got error %v, want Invalid", err)
	}
	list, err := s.Client.CoreV1().Pods(namespace).List(s.Ctx, metav1.ListOptions{LabelSelector: "set=web"})
	kit.Must(t, err)
	if after := uids(list.Items); !maps.Equal(after, before) {
		t.Errorf("pods: got %v, want %v", after, before)
	}
	if set, err = sets.Get(s.Ctx, "web", metav1.GetOptions{}); err != nil || set.Generation != generation {
		t.Errorf("generation of the StatefulSet: got %d, %v, want %d", set.Generation, err, generation)
	}
}

// changeRule replaces the rule of a StatefulSet.
func (s *suite) changeRule(namespace, name, rule string) error {
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{%q:%q}}}}}`, webhook.Annotation, rule)
	_, err := s.Client.AppsV1().StatefulSets(namespace).Patch(s.Ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// uids are those of pods, by name.
func uids(pods []corev1.Pod) map[string]string {
	all := map[string]string{}
	for _, pod := range pods {
		all[pod.Name] = string(pod.UID)
	}
	return all
}
