package gate

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/internal/alert/dingtalktest"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// Pods that are stored behind the gate during an outage and cannot be placed, by the names of their StatefulSets: what the template
// holds, what the events on pod and StatefulSet say, and the patch of the StatefulSet that the way out begins with.
var unplaceable = map[string]struct {
	annotation        string // empty: kit.ByParity
	nodeSelector      map[string]string
	event, correction string
}{
	"bad": {
		annotation: `{"key": "name", "evn": "node1", "odd": "node2"}`, event: `field "evn" is unknown`,
		correction: fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{%q:%q}}}}}`, webhook.Annotation, kit.ByParity),
	},
	// An ordinary webhook call overwrites the entry, so here deleting the pod is enough.
	"conflict": {nodeSelector: map[string]string{"name": "elsewhere"}, event: "its own nodeSelector is in the way of name=node1"},
	// Only with --existing-selector=replace.
	"replaced": {nodeSelector: map[string]string{"disk": "none"}, event: "its own nodeSelector is in the way of name=node1"},
}

// testUnplaceable: what cannot be placed waits and is explained, by events and an alert, and the documented way out works.
func (s *suite) testUnplaceable(t *testing.T) {
	s.setPolicy(t, "gate")
	kit.Must(t, s.StopChecks(s.Ctx))
	robot := s.StartRobot(t, dingtalktest.Options{})
	const secret = "sts-webhook-dingtalk"
	s.Kubectl(t, "--namespace", webhook.Namespace, "create", "secret", "generic", secret,
		"--from-literal=url="+robot.URL, "--from-literal=secret="+robot.Secret)
	t.Cleanup(func() {
		kit.Must(t, s.Client.CoreV1().Secrets(webhook.Namespace).Delete(context.WithoutCancel(s.Ctx), secret, metav1.DeleteOptions{}))
		kit.Must(t, s.Restart(s.Ctx))
	})
	kit.Must(t, s.Configure(s.Ctx, "--existing-selector=replace", "--alert-language=en", "--dingtalk-allow-http"))
	kit.Must(t, s.Scale(s.Ctx, 0))
	for name, u := range unplaceable {
		s.deleteSet(t, name)
		set := kit.StatefulSet(name, 1, cmp.Or(u.annotation, kit.ByParity))
		set.Spec.Template.Spec.NodeSelector = u.nodeSelector
		s.createSet(t, set)
	}
	s.Eventually(t, time.Minute, func() error {
		for name := range unplaceable {
			if n := len(s.podsOf(t, name)); n != 1 {
				return fmt.Errorf("%d pods of %s, want 1 behind the gate", n, name)
			}
		}
		return nil
	})
	kit.Must(t, s.Scale(s.Ctx, 2))
	for name, want := range unplaceable {
		for _, kind := range []string{"Pod", "StatefulSet"} {
			s.Eventually(t, time.Minute, func() error {
				out, err := s.Cluster.Kubectl(s.Ctx, "--namespace", namespace, "get", "events", "-o", "jsonpath={.items[*].message}",
					"--field-selector=reason=NotPlaced,involvedObject.kind="+kind+",involvedObject.name="+map[string]string{"Pod": name + "-0", "StatefulSet": name}[kind])
				if err != nil {
					return err
				}
				return contains(out, want.event, "kubectl -n "+namespace+" delete pod "+name+"-0")
			})
		}
	}
	if n, err := s.Sum(s.Ctx, "sts_webhook_gated_pods", nil); err != nil || int(n) != 2*len(unplaceable) {
		t.Errorf("the replicas see %v pods behind the gate, %v, want %d each", n, err, len(unplaceable))
	}
	s.Eventually(t, 3*time.Minute, func() error { return contains(robot.Texts(), "3 pods that wait to be placed") })
	for name, want := range unplaceable {
		pod := s.podsOf(t, name)[0]
		if len(pod.Spec.SchedulingGates) != 1 || pod.Spec.NodeName != "" {
			t.Errorf("%s does not wait: %+v", pod.Name, pod.Spec)
		}
		if want.correction != "" {
			s.Kubectl(t, "--namespace", namespace, "patch", "statefulset", name, "--type=merge", "-p", want.correction)
		}
		s.Kubectl(t, "--namespace", namespace, "delete", "pod", pod.Name)
		s.runs(t, name, 1)
	}
	s.Eventually(t, 2*time.Minute, func() error { return contains(robot.Texts(), "no pods left that wait to be placed") })
	for name := range unplaceable {
		s.deleteSet(t, name)
	}
	kit.Must(t, s.Configure(s.Ctx))
	kit.Must(t, s.StartChecks(s.Ctx))
}

// contains returns an error unless the text holds all parts.
func contains(text string, parts ...string) error {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return fmt.Errorf("got %q, want it to hold %q", text, part)
		}
	}
	return nil
}
