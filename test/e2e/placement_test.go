package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// expectPlaced checks the node and the whole node selector of six pods.
func (s *suite) expectPlaced(t *testing.T, pods []corev1.Pod, set string, also map[string]string) {
	t.Helper()
	type placed struct {
		Node     string
		Selector map[string]string
	}
	got, want := map[string]placed{}, map[string]placed{}
	for _, pod := range pods {
		got[pod.Name] = placed{pod.Spec.NodeName, pod.Spec.NodeSelector}
	}
	for ordinal := range 6 {
		value := []string{"node1", "node2"}[ordinal%2]
		selector := map[string]string{"name": value}
		maps.Copy(selector, also)
		want[fmt.Sprintf("%s-%d", set, ordinal)] = placed{s.nodeOf[value], selector}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pods of %s differ (-want +got):\n%s", set, diff)
	}
}

func (s *suite) testPlacement(t *testing.T) {
	before := s.admitted(t, "placed")
	pods := s.apply(t, s.namespace(t), kit.StatefulSet("web", 6, kit.ByParity))
	s.expectPlaced(t, pods, "web", nil)
	if placed := s.admitted(t, "placed") - before; placed < 6 {
		t.Errorf("the replicas counted %v placed pods, want at least 6", placed)
	}
}

func (s *suite) testMerge(t *testing.T) {
	namespace := s.namespace(t)
	other := kit.StatefulSet("keeps-others", 6, kit.ByParity)
	other.Spec.Template.Spec.NodeSelector = map[string]string{"kubernetes.io/os": "linux"}
	s.expectPlaced(t, s.apply(t, namespace, other), "keeps-others", map[string]string{"kubernetes.io/os": "linux"})
	same := kit.StatefulSet("same-key", 6, kit.ByParity)
	same.Spec.Template.Spec.NodeSelector = map[string]string{"name": "nowhere"}
	s.expectPlaced(t, s.apply(t, namespace, same), "same-key", nil)
}

func (s *suite) testDenial(t *testing.T) {
	defer s.withoutChecks(t)()
	namespace := s.namespace(t)
	broken := map[string]*appsv1.StatefulSet{
		`field "evn" is unknown`:   kit.StatefulSet("typo", 1, misspelt),
		`it is not valid JSON`:     kit.StatefulSet("no-json", 1, `key=name`),
		`no annotation`:            kit.StatefulSet("no-annotation", 1, ""),
		`"node 1"`:                 kit.StatefulSet("no-label-value", 1, `{"key": "name", "even": "node 1", "odd": "node2"}`),
		`field "odd" is missing`:   kit.StatefulSet("no-odd", 1, `{"key": "name", "even": "node1"}`),
		`field "key" occurs twice`: kit.StatefulSet("twice", 1, `{"key": "name", "key": "name", "even": "node1", "odd": "node2"}`),
	}
	delete(broken[`no annotation`].Spec.Template.Annotations, webhook.Annotation)
	for says, set := range broken {
		message := s.failure(t, s.create(t, namespace, set))
		t.Logf("%s: %s", set.Name, message)
		for _, part := range []string{
			set.Name + "-0", `admission webhook "` + serviceName + `" denied the request: `,
			webhook.Annotation, says, "StatefulSet's pod template",
		} {
			if !strings.Contains(message, part) {
				t.Errorf("event of %s: got %q, want %q in it", set.Name, message, part)
			}
		}
	}
	pods, err := s.Client.CoreV1().Pods(namespace).List(s.Ctx, metav1.ListOptions{})
	kit.Must(t, err)
	if len(pods.Items) != 0 {
		t.Errorf("%d refused pods exist", len(pods.Items))
	}
}

// failure waits for the event that says why a StatefulSet has no pods.
func (s *suite) failure(t *testing.T, set *appsv1.StatefulSet) string {
	t.Helper()
	var message string
	s.eventually(t, func() error {
		list, err := s.Client.CoreV1().Events(set.Namespace).List(s.Ctx, metav1.ListOptions{
			FieldSelector: "type=Warning,reason=FailedCreate,involvedObject.kind=StatefulSet,involvedObject.uid=" + string(set.UID),
		})
		if err != nil {
			return err
		}
		if len(list.Items) == 0 {
			return fmt.Errorf("StatefulSet %s has no event FailedCreate", set.Name)
		}
		message = list.Items[0].Message
		return nil
	})
	return message
}

func (s *suite) testOrphan(t *testing.T) {
	err := s.createOrphan(s.namespace(t), "web-0")
	status, ok := err.(apierrors.APIStatus)
	if !ok {
		t.Fatalf("create: got %v, want a refusal", err)
	}
	got := status.Status()
	if got.Code != http.StatusUnprocessableEntity || got.Reason != metav1.StatusReasonInvalid {
		t.Errorf("got code %d, reason %s, want 422, Invalid", got.Code, got.Reason)
	}
	if d := got.Details; d == nil || len(d.Causes) != 1 || d.Causes[0].Field != "metadata.ownerReferences" {
		t.Errorf("details: got %+v, want one cause for metadata.ownerReferences", d)
	}
	if !strings.Contains(got.Message, "no StatefulSet controls it") {
		t.Errorf("message: got %q", got.Message)
	}
}

func (s *suite) testUnlabelled(t *testing.T) {
	namespace := s.namespace(t)
	before := s.admitted(t, "")
	for name, label := range map[string]string{"no-label": "", "label-false": "false"} {
		set := kit.StatefulSet(name, 3, kit.ByParity)
		if label == "" {
			delete(set.Spec.Template.Labels, webhook.Label)
		} else {
			set.Spec.Template.Labels[webhook.Label] = label
		}
		for _, pod := range s.apply(t, namespace, set) {
			if len(pod.Spec.NodeSelector) != 0 {
				t.Errorf("nodeSelector of %s: got %v, want none", pod.Name, pod.Spec.NodeSelector)
			}
		}
	}
	if sent := s.admitted(t, "") - before; sent != 0 {
		t.Errorf("the replicas were sent %v requests, want 0", sent)
	}
	// The count does see what is sent.
	s.apply(t, namespace, kit.StatefulSet("opted-in", 1, kit.ByParity))
	if sent := s.admitted(t, "") - before; sent < 1 {
		t.Errorf("the replicas were sent %v requests for an opted-in pod, want at least 1", sent)
	}
}
