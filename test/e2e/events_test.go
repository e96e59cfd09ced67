package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// ownEvents returns the Events that the webhook wrote on StatefulSets of a namespace.
func (s *suite) ownEvents(namespace string) ([]corev1.Event, error) {
	list, err := s.Client.CoreV1().Events(namespace).List(s.Ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.kind=StatefulSet,source=" + webhook.Deployment,
	})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// testEvents looks at what kubectl describe shows of a StatefulSet: that its pods are placed, once for each revision whichever
// replica placed them, and why they are refused.
func (s *suite) testEvents(t *testing.T) {
	namespace := s.namespace(t)
	defer s.withoutChecks(t)()
	set := kit.StatefulSet("web", 6, kit.ByParity)
	pods := s.apply(t, namespace, set)
	revisions := map[string]bool{pods[0].Labels["controller-revision-hash"]: true}
	kit.Must(t, s.changeRule(namespace, set.Name, `{"key": "name", "values": ["node2", "node1"]}`))
	s.Kubectl(t, "rollout", "status", "--namespace", namespace, "statefulset/"+set.Name, "--timeout=2m")
	updated, err := s.Client.AppsV1().StatefulSets(namespace).Get(s.Ctx, set.Name, metav1.GetOptions{})
	kit.Must(t, err)
	revisions[updated.Status.UpdateRevision] = true

	var placed []corev1.Event
	s.eventually(t, func() error {
		placed, err = s.ownEvents(namespace)
		if err == nil && len(placed) < len(revisions) {
			err = fmt.Errorf("%d events, want one for each of %d revisions", len(placed), len(revisions))
		}
		return err
	})
	for _, e := range placed {
		revision, _, _ := strings.Cut(strings.TrimPrefix(e.Message, "revision "), ":")
		if e.Type != corev1.EventTypeNormal || e.Reason != "Placed" || e.Count != 1 || !revisions[revision] || !strings.Contains(e.Message, ", on name=node") {
			t.Errorf("got the event %s %s %q, counted %d, want Normal Placed of one of %v, once", e.Type, e.Reason, e.Message, e.Count, slices.Collect(maps.Keys(revisions)))
		}
		delete(revisions, revision)
	}

	s.create(t, namespace, kit.StatefulSet("broken", 1, misspelt))
	s.eventually(t, func() error { return s.deniedTwice(namespace) })
	for name, lines := range map[string][]string{
		"web":    {" Placed ", " sts-webhook ", "pods are placed by their ordinal; the first was web-"},
		"broken": {" AnnotationInvalid ", " sts-webhook ", `field "evn" is unknown`},
	} {
		described := s.Kubectl(t, "describe", "--namespace", namespace, "statefulset", name)
		for _, line := range lines {
			if !strings.Contains(described, line) {
				t.Errorf("kubectl describe of %s does not show %q", name, line)
			}
		}
		_, events, _ := strings.Cut(described, "Events:")
		t.Logf("Events:%s", events)
	}
}

// deniedTwice reports whether the refusals of the StatefulSet "broken" are one Event of each replica, with a count.
func (s *suite) deniedTwice(namespace string) error {
	events, err := s.ownEvents(namespace)
	var denials, count int32
	for _, e := range events {
		if e.InvolvedObject.Name == "broken" && e.Type == corev1.EventTypeWarning {
			denials, count = denials+1, count+e.Count
		}
	}
	if err == nil && (denials < 1 || denials > 2 || count < 5) {
		err = fmt.Errorf("%d events that count %d refusals, want one or two that count five or more", denials, count)
	}
	return err
}
