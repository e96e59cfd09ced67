package gate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/internal/alert/dingtalktest"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// Pods that are stored behind the gate during an outage and cannot be placed, by the names of their StatefulSets: what the events
// on pod and StatefulSet say, and the patch of the StatefulSet that the way out begins with.
var unplaceable = map[string]struct{ event, correction string }{
	"bad": {`field "evn" is unknown`, `{"spec":{"template":{"metadata":{"annotations":{"` + webhook.Annotation + `":"{\"key\":\"name\",\"even\":\"node1\",\"odd\":\"node2\"}"}}}}}`},
	// An ordinary webhook call overwrites the entry, so here deleting the pod is enough.
	"conflict": {"its own nodeSelector is in the way of name=node1", ""},
	// Only with --existing-selector=replace.
	"replaced": {"its own nodeSelector is in the way of name=node1", ""},
}

func unplaceableSet(name string) *appsv1.StatefulSet {
	switch set := kit.StatefulSet(name, 1, kit.ByParity); name {
	case "bad":
		return kit.StatefulSet(name, 1, `{"key": "name", "evn": "node1", "odd": "node2"}`)
	case "conflict":
		set.Spec.Template.Spec.NodeSelector = map[string]string{"name": "elsewhere"}
		return set
	default:
		set.Spec.Template.Spec.NodeSelector = map[string]string{"disk": "none"}
		return set
	}
}

// testUnplaceable: what cannot be placed waits and is explained, by events and an alert, and the documented way out works.
func (s *suite) testUnplaceable(t *testing.T) {
	s.setPolicy(t, "gate")
	kit.Must(t, s.StopChecks(s.Ctx))
	robot := s.startRobot(t)
	kit.Must(t, s.Configure(s.Ctx, "--existing-selector=replace", "--alert-language=en", "--dingtalk-allow-http"))
	kit.Must(t, s.Scale(s.Ctx, 0))
	for name := range unplaceable {
		s.deleteSet(t, name)
		s.createSet(t, unplaceableSet(name))
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
	s.Eventually(t, 3*time.Minute, func() error { return alerted(robot, "3 pods that wait to be placed") })
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
	s.Eventually(t, 2*time.Minute, func() error { return alerted(robot, "no pods left that wait to be placed") })
	for name := range unplaceable {
		s.deleteSet(t, name)
	}
	kit.Must(t, s.Configure(s.Ctx))
	kit.Must(t, s.StartChecks(s.Ctx))
}

func alerted(robot *dingtalktest.Robot, text string) error {
	for _, m := range robot.Messages() {
		if strings.Contains(m.Text, text) {
			return nil
		}
	}
	return fmt.Errorf("none of %d alerts holds %q", len(robot.Messages()), text)
}

// startRobot turns alerts on, in English: a stand-in for DingTalk where pods can reach it, and the Secret. Replicas that start
// from now on use it.
func (s *suite) startRobot(t *testing.T) *dingtalktest.Robot {
	t.Helper()
	const token, secret = "0123456789abcdef", "SEC0123456789abcdef"
	listener, err := s.Cluster.Listen("node-1", "tcp", net.JoinHostPort(s.Cluster.NodeIP("node-1"), "0"))
	kit.Must(t, err)
	robot := dingtalktest.New(dingtalktest.Options{Token: token, Secret: secret})
	server := &http.Server{Handler: robot, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	secrets := s.Client.CoreV1().Secrets(webhook.Namespace)
	object := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "sts-webhook-dingtalk"},
		StringData: map[string]string{"url": "http://" + listener.Addr().String() + "/robot/send?access_token=" + token, "secret": secret},
	}
	_, err = secrets.Create(s.Ctx, object, metav1.CreateOptions{})
	kit.Must(t, err)
	t.Cleanup(func() {
		kit.Must(t, secrets.Delete(context.WithoutCancel(s.Ctx), object.Name, metav1.DeleteOptions{}))
		kit.Must(t, s.Restart(s.Ctx))
		kit.Must(t, server.Close())
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("robot: %v", err)
		}
	})
	return robot
}
