package e2e

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/internal/alert/dingtalktest"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// testFlags runs the webhook with --existing-selector=replace and with alerts
// that reach a robot on node-1. Alerts are gathered for longer than the test
// takes, so that they are counted while they wait and sent when the replicas end: refusals and placements in a message each,
// for which a young replica has the share only at a high rate.
func (s *suite) testFlags(t *testing.T) {
	robot, address := s.robot(t)
	s.dingtalk(t, address)
	kit.Must(t, s.within(func(ctx context.Context) error {
		return s.Configure(ctx, "--existing-selector=replace", "--dingtalk-allow-http", "--dingtalk-message-type=text",
			"--alert-language=en", "--alert-on=placed,denied", "--alert-window=10m", "--alert-rate=20")
	}))
	// Until then the old replicas go on serving, with the old flags.
	kit.Must(t, s.within(s.WaitDrained))
	namespace := s.namespace(t)
	t.Run("replace drops the node selector that a pod has", func(t *testing.T) {
		set := kit.StatefulSet("replaced", 6, kit.ByParity)
		set.Spec.Template.Spec.NodeSelector = map[string]string{"kubernetes.io/os": "linux"}
		s.expectPlaced(t, s.apply(t, namespace, set), "replaced", nil)
	})
	t.Run("a dry run is answered as a real one, stored nowhere and not reported", func(t *testing.T) { s.testDryRun(t, namespace) })
	t.Run("the last digest holds what really happened", func(t *testing.T) {
		kit.Must(t, s.within(func(ctx context.Context) error { return s.Configure(ctx) }))
		kit.Must(t, s.within(s.WaitDrained))
		var digests strings.Builder
		for _, message := range robot.Messages() {
			digests.WriteString(message.Text)
		}
		for _, part := range []string{"replaced", "wet", "refused"} {
			if !strings.Contains(digests.String(), part) {
				t.Errorf("the digests do not name StatefulSet %s:\n%s", part, &digests)
			}
		}
		if strings.Contains(digests.String(), "dry") {
			t.Errorf("the digests name a dry run:\n%s", &digests)
		}
	})
}

func (s *suite) testDryRun(t *testing.T, namespace string) {
	pods := s.Client.CoreV1().Pods(namespace)
	waiting, placed := s.waitingAlerts(t), s.admitted(t, "placed")
	for ordinal := range 10 { // so many that both replicas have their share
		pod, err := pods.Create(s.Ctx, kit.OwnedPod("dry", ordinal, kit.ByParity), dryRun)
		kit.Must(t, err)
		if want := []string{"node1", "node2"}[ordinal%2]; len(pod.Spec.NodeSelector) != 1 || pod.Spec.NodeSelector["name"] != want {
			t.Errorf("nodeSelector of %s: got %v, want name=%s", pod.Name, pod.Spec.NodeSelector, want)
		}
		if _, err := pods.Get(s.Ctx, pod.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("get %s after the dry run: got %v, want not found", pod.Name, err)
		}
		if _, err := pods.Create(s.Ctx, kit.OwnedPod("dry-refused", ordinal, "{}"), dryRun); !apierrors.IsInvalid(err) {
			t.Errorf("dry run of a mistake: got %v, want Invalid", err)
		}
	}
	if n := s.admitted(t, "placed") - placed; n != 10 {
		t.Errorf("the replicas counted %v placed pods, want 10", n)
	}
	if n := s.waitingAlerts(t) - waiting; n != 0 {
		t.Errorf("%v alerts of dry runs wait to be sent, want 0", n)
	}
	// The count does see what is real.
	s.apply(t, namespace, kit.StatefulSet("wet", 1, kit.ByParity))
	defer s.withoutChecks(t)()
	s.failure(t, s.create(t, namespace, kit.StatefulSet("refused", 1, "{}")))
	if n := s.waitingAlerts(t) - waiting; n < 2 {
		t.Errorf("%v alerts of real pods wait to be sent, want at least 2", n)
	}
}

// waitingAlerts is how many lines of the next digests the replicas hold.
func (s *suite) waitingAlerts(t *testing.T) float64 {
	t.Helper()
	return s.count(t, "sts_webhook_alert_queue_length", "", "")
}

const (
	robotToken  = "0123456789abcdef"
	robotSecret = "SEC0123456789abcdef"
)

// robot serves a stand-in for DingTalk where pods can reach it.
func (s *suite) robot(t *testing.T) (*dingtalktest.Robot, net.Addr) {
	t.Helper()
	listener, err := s.Cluster.Listen("node-1", "tcp", s.Cluster.NodeIP("node-1")+":0")
	kit.Must(t, err)
	robot := dingtalktest.New(dingtalktest.Options{Token: robotToken, Secret: robotSecret})
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: robot}}
	server.Start()
	t.Cleanup(server.Close)
	return robot, listener.Addr()
}

// dingtalk creates the optional Secret that turns alerts on.
func (s *suite) dingtalk(t *testing.T, address net.Addr) {
	t.Helper()
	const name = "sts-webhook-dingtalk"
	s.Kubectl(t, "create", "secret", "generic", name, "--namespace", webhook.Namespace, "--from-literal=secret="+robotSecret,
		"--from-literal=url=http://"+address.String()+"/robot/send?access_token="+robotToken)
	t.Cleanup(func() {
		kit.Must(t, s.Client.CoreV1().Secrets(webhook.Namespace).Delete(context.WithoutCancel(s.Ctx), name, metav1.DeleteOptions{}))
	})
}
