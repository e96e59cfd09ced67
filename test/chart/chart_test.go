package chart

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/webhook"
)

// testInstall makes a package of the chart, pushes it to a registry, and installs it from there.
func (s *suite) testInstall(t *testing.T) {
	address := s.startRegistry(t)
	s.helm(t, "package", s.Path("charts/sts-webhook"), "--version", "1.2.3", "--app-version", "latest")
	s.helm(t, "push", "sts-webhook-1.2.3.tgz", "oci://"+address+"/charts", "--plain-http")
	// The registry ends with this chapter; the others install the same package.
	s.chart = filepath.Join(s.home, "sts-webhook-1.2.3.tgz")
	out := s.roll(t, "install", name, "oci://"+address+"/charts/sts-webhook", "--version", "1.2.3", "--plain-http")
	if want := "sts-webhook check --wait"; !strings.Contains(out, want) {
		t.Errorf("got the notes %q, want %q", out, want)
	}
	s.Kubectl(t, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=privileged", "--overwrite")
	s.Kubectl(t, "apply", "-n", namespace, "-f", s.Path("test/demo/web.yaml"))
	s.checkPlaced(t)
}

// checkPlaced waits for the pods of test/demo/web.yaml, and compares their nodes with the rule.
func (s *suite) checkPlaced(t *testing.T) {
	t.Helper()
	s.Kubectl(t, "rollout", "status", "-n", namespace, "statefulset/web", "--timeout=2m")
	pods, err := s.Client.CoreV1().Pods(namespace).List(s.Ctx, metav1.ListOptions{LabelSelector: webhook.Label + "=true"})
	kit.Must(t, err)
	got, want := map[string]string{}, map[string]string{}
	for i, pod := range pods.Items {
		got[pod.Name] = pod.Spec.NodeName
		want[fmt.Sprintf("web-%d", i)] = []string{"node-1", "node-2"}[i%2]
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 2 {
		t.Errorf("%d pods are on other nodes than the rule says (-want +got):\n%s", len(want), diff)
	}
}

// testUpgrade changes values five times and rolls back, while pods are created.
func (s *suite) testUpgrade(t *testing.T) {
	run := s.startLoad(t, "")
	before := s.owned(t)
	for _, settings := range []string{
		"replicas=3",
		"replicas=3,resources.limits.memory=256Mi",
		"replicas=2,args={--v=1}",
		"gate.enabled=true,podDisruptionBudget.enabled=false",
		"checks.volumes=true,events.enabled=false",
	} {
		s.upgrade(t, settings)
		s.checkOwned(t, "upgrade --set "+settings, before)
	}
	// To the revision with the gate, and to the first one.
	for _, revision := range []string{"5", "1"} {
		s.roll(t, "rollback", name, revision)
		s.checkOwned(t, "rollback to "+revision, before)
	}
	if out := s.Kubectl(t, "get", gateKinds, "-l", "app=sts-webhook", "-o", "name"); out != "" {
		t.Errorf("got %q, want nothing of the gate", out)
	}
	expectNoneLost(t, run, 100)
	s.checkPlaced(t)
}

func (s *suite) upgrade(t *testing.T, settings string) {
	t.Helper()
	s.roll(t, "upgrade", name, s.chart, "--reset-values", "--set", settings)
}

const gateKinds = "mutatingadmissionpolicies,mutatingadmissionpolicybindings,validatingadmissionpolicies,validatingadmissionpolicybindings"

// expectNoneLost ends the load.
func expectNoneLost(t *testing.T, run *load.Run, admitted int) {
	t.Helper()
	report := run.Stop()
	t.Log(report)
	if report.Lost() > 0 || report.Count(load.Admitted) < admitted {
		t.Errorf("got %d creations lost of %s, want none, and %d admitted: %v", report.Lost(), report, admitted, report.Causes())
	}
}

// owned is what the webhook writes and Helm must leave alone: the Secret's data and each caBundle.
func (s *suite) owned(t *testing.T) string {
	t.Helper()
	secret, err := s.Client.CoreV1().Secrets(webhook.Namespace).Get(s.Ctx, webhook.Secret, metav1.GetOptions{})
	kit.Must(t, err)
	bundles := s.Kubectl(t, "get", "mutatingwebhookconfiguration/"+webhook.Configuration,
		"validatingwebhookconfiguration/"+webhook.ValidatingConfiguration, "-o", "jsonpath={.items[*].webhooks[*].clientConfig.caBundle}")
	if n := len(strings.Fields(bundles)); len(secret.Data) != 4 || n != 3 {
		t.Fatalf("got %d keys of the Secret and %d caBundles, want 4 and 3", len(secret.Data), n)
	}
	return fmt.Sprint(secret.Data, bundles)
}

// checkOwned compares without printing keys. A repair would hide a caBundle that was wiped, so the counters of repairs must be zero.
func (s *suite) checkOwned(t *testing.T, after, before string) {
	t.Helper()
	if s.owned(t) != before {
		t.Errorf("%s changed the Secret's data or a caBundle", after)
	}
	repairs, err := s.Sum(s.Ctx, "sts_webhook_repairs_total", nil)
	kit.Must(t, err)
	if repairs != 0 {
		t.Errorf("%s: the webhook repaired its Secret or caBundles %v times, want 0", after, repairs)
	}
}

// testConflict upgrades a field that kubectl has changed: a clear error, or, when forced, the value of the chart.
func (s *suite) testConflict(t *testing.T) {
	run := s.startLoad(t, "")
	before := s.owned(t)
	s.Kubectl(t, "set", "resources", "-n", webhook.Namespace, "deployment/sts-webhook", "--limits=memory=200Mi")
	kit.Must(t, s.WaitRollout(s.Ctx))
	upgrade := []string{"upgrade", name, s.chart, "--reset-values", "--set", "resources.limits.memory=224Mi"}
	s.fails(t, []string{"conflict", "memory"}, append(upgrade, "--wait", "--timeout", "3m")...)
	s.roll(t, append(upgrade, "--force-conflicts")...)
	s.checkOwned(t, "upgrade --force-conflicts", before)
	const limit = "jsonpath={.spec.template.spec.containers[0].resources.limits.memory}"
	if got := s.Kubectl(t, "get", "deployment/sts-webhook", "-n", webhook.Namespace, "-o", limit); got != "224Mi" {
		t.Errorf("memory limit is %s, want 224Mi", got)
	}
	expectNoneLost(t, run, 1)
}

// testTakeOver installs with kubectl, and then with Helm over it: no replica is replaced, no key is made anew.
func (s *suite) testTakeOver(t *testing.T) {
	_, err := s.Install(s.Ctx)
	kit.Must(t, err)
	run := s.startLoad(t, "")
	replicas := func() string {
		return s.Kubectl(t, "get", "pods", "-n", webhook.Namespace, "-l", "app=sts-webhook", "-o", "name")
	}
	before, owned := replicas(), s.owned(t)
	s.fails(t, []string{"invalid ownership metadata"}, "install", name, s.chart) // without --take-ownership
	// kubectl apply has fields that Helm applies in another form, such as the fieldRef of POD_NAMESPACE without its default.
	s.roll(t, "install", name, s.chart, "--take-ownership", "--force-conflicts")
	s.checkOwned(t, "install --take-ownership", owned)
	if diff := cmp.Diff(before, replicas()); diff != "" {
		t.Errorf("replicas were replaced (-before +after):\n%s", diff)
	}
	expectNoneLost(t, run, 1)
}

// testSecondRelease records a release in custom-system, which then is no part of it, and tries another one.
func (s *suite) testSecondRelease(t *testing.T) {
	s.roll(t, "install", name, s.chart, "--namespace", webhook.Namespace, "--create-namespace")
	s.fails(t, []string{"invalid ownership metadata"}, "install", "second", s.chart, "--namespace", webhook.Namespace)
	s.uninstall(t, "--namespace", webhook.Namespace)
	s.Eventually(t, time.Minute, func() error {
		if out := s.Kubectl(t, "get", "all,secrets,serviceaccounts,roles,rolebindings", "-n", webhook.Namespace, "-l", "app=sts-webhook", "-o", "name"); out != "" {
			return fmt.Errorf("got %q, want nothing", out)
		}
		return nil
	})
	s.Kubectl(t, "delete", "namespace", webhook.Namespace)
}
