package e2e

import (
	"maps"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
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
	before := uids(s.apply(t, namespace, kit.StatefulSet("web", 2, kit.ByParity)))
	generation := func() int64 {
		set, err := s.Client.AppsV1().StatefulSets(namespace).Get(s.Ctx, "web", metav1.GetOptions{})
		kit.Must(t, err)
		return set.Generation
	}
	want := generation()
	if err := s.changeRule(namespace, "web", misspelt); !apierrors.IsInvalid(err) {
		t.Errorf("update with a mistake: got error %v, want Invalid", err)
	}
	pods, err := s.running(namespace, "web", 2)
	if after := uids(pods); err != nil || !maps.Equal(after, before) {
		t.Errorf("pods: got %v, %v, want %v", after, err, before)
	}
	if got := generation(); got != want {
		t.Errorf("generation of the StatefulSet: got %d, want %d", got, want)
	}
}
