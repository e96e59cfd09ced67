package chart

import (
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/webhook"
)

// testUninstall removes the release while pods are created that opted in, and others. Those that opted in are created without a
// nodeSelector from some moment on; none is refused, and none is left behind the gate.
func (s *suite) testUninstall(t *testing.T, gate bool) {
	if gate {
		s.upgrade(t, "gate.enabled=true")
	}
	optedIn, others := s.startLoad(t, ""), s.startLoad(t, "not-ours")
	s.Pause(time.Second)
	s.uninstall(t)
	s.Pause(2 * time.Second)
	for kind, report := range map[string]load.Report{"opted-in pods": optedIn.Stop(), "other pods": others.Stop()} {
		t.Logf("uninstalled, %s: %s", kind, report)
		if report.Count(load.Refused, load.Denied, load.WrongSelector) > 0 || report.Count(load.Unmutated) == 0 {
			t.Errorf("%s: got %s, want none refused or denied, and some without a selector: %v", kind, report, report.Causes())
		}
		if n := abandoned(report); n > 0 {
			t.Errorf("%s: got %d behind the gate without a call to the webhook, want none: %s", kind, n, report)
		}
	}
	kinds := gateKinds + ",mutatingwebhookconfigurations,validatingwebhookconfigurations,clusterroles,clusterrolebindings"
	if out := s.Kubectl(t, "get", kinds, "-l", "app=sts-webhook", "-o", "name"); out != "" {
		t.Errorf("got %q, want nothing", out)
	}
	if _, err := s.Client.CoreV1().Namespaces().Get(s.Ctx, webhook.Namespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("namespace %s: got error %v, want not found", webhook.Namespace, err)
	}
	if out := s.helm(t, "list", "--all-namespaces", "--short"); strings.TrimSpace(out) != "" {
		t.Errorf("got the releases %q, want none", out)
	}
}

// abandoned counts creations that were stored behind the gate at once, as happens when the webhook is gone and the gate is not. On
// a busy machine a call to a replica may also time out, after the 2 s of manifests/05-webhook.yaml; the replica then places the pod.
func abandoned(report load.Report) (n int) {
	for _, sample := range report.Samples {
		if sample.Outcome == load.Gated && sample.Latency < 2*time.Second {
			n++
		}
	}
	return n
}
