package chart

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
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
	out := s.helm(t, "install", name, "oci://"+address+"/charts/sts-webhook", "--version", "1.2.3", "--plain-http", "--wait", "--timeout", "3m")
	if want := "sts-webhook check --wait"; !strings.Contains(out, want) {
		t.Errorf("got the notes %q, want %q", out, want)
	}
	kit.Must(t, s.WaitRollout(s.Ctx))
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
	for i, settings := range [][]string{
		{"replicas=3"},
		{"replicas=3", "resources.limits.memory=256Mi"},
		{"replicas=2", "args={--v=1}"},
		{"gate.enabled=true", "podDisruptionBudget.enabled=false"},
		{"checks.volumes=true", "events.enabled=false"},
	} {
		s.upgrade(t, settings...)
		s.checkOwned(t, fmt.Sprintf("upgrade %d", i+1), before)
	}
	// To the revision with the gate, and to the first one.
	for _, revision := range []string{"5", "1"} {
		s.helm(t, "rollback", name, revision, "--wait", "--timeout", "3m")
		kit.Must(t, s.WaitRollout(s.Ctx))
		s.checkOwned(t, "rollback to "+revision, before)
	}
	s.checkGateIsOff(t)
	report := run.Stop()
	t.Logf("5 upgrades and 2 rollbacks: %s", report)
	if lost := report.Lost(); lost > 0 || report.Count(load.Admitted) < 100 {
		t.Errorf("got %d creations lost of %s, want none: %v", lost, report, report.Causes())
	}
	s.checkPlaced(t)
}

func (s *suite) upgrade(t *testing.T, settings ...string) {
	t.Helper()
	args := []string{"upgrade", name, s.chart, "--reset-values", "--wait", "--timeout", "3m"}
	for _, setting := range settings {
		args = append(args, "--set", setting)
	}
	s.helm(t, args...)
	kit.Must(t, s.WaitRollout(s.Ctx))
}

func (s *suite) checkGateIsOff(t *testing.T) {
	t.Helper()
	if out := s.Kubectl(t, "get", gateKinds, "-l", "app=sts-webhook", "-o", "name"); out != "" {
		t.Errorf("got %q, want nothing of the gate", out)
	}
}

const gateKinds = "mutatingadmissionpolicies,mutatingadmissionpolicybindings,validatingadmissionpolicies,validatingadmissionpolicybindings"

// owned is what the webhook writes and Helm must leave alone.
type owned struct {
	Secret  map[string][]byte
	Bundles map[string]string
}

func (s *suite) owned(t *testing.T) owned {
	t.Helper()
	o := owned{Bundles: map[string]string{}}
	secret, err := s.Client.CoreV1().Secrets(webhook.Namespace).Get(s.Ctx, webhook.Secret, metav1.GetOptions{})
	kit.Must(t, err)
	o.Secret = secret.Data
	var mutating *admissionv1.MutatingWebhookConfiguration
	mutating, err = s.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(s.Ctx, webhook.Configuration, metav1.GetOptions{})
	kit.Must(t, err)
	for _, w := range mutating.Webhooks {
		o.Bundles[w.Name] = string(w.ClientConfig.CABundle)
	}
	validating, err := s.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(s.Ctx, webhook.ValidatingConfiguration, metav1.GetOptions{})
	kit.Must(t, err)
	for _, w := range validating.Webhooks {
		o.Bundles[w.Name] = string(w.ClientConfig.CABundle)
	}
	for entry, bundle := range o.Bundles {
		if bundle == "" {
			t.Errorf("the caBundle of %s is empty", entry)
		}
	}
	if len(o.Secret) != 4 || len(o.Bundles) != 3 {
		t.Fatalf("got %d keys of the Secret and %d entries, want 4 and 3", len(o.Secret), len(o.Bundles))
	}
	return o
}

// checkOwned compares without printing keys. A repair would hide a caBundle that was wiped, so the counters of repairs must be zero.
func (s *suite) checkOwned(t *testing.T, after string, before owned) {
	t.Helper()
	if now := s.owned(t); !cmp.Equal(before, now) {
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
	args := []string{"upgrade", name, s.chart, "--reset-values", "--set", "resources.limits.memory=224Mi", "--wait", "--timeout", "3m"}
	out, err := s.runHelm(args...)
	if want := "conflict"; err == nil || !strings.Contains(out, want) || !strings.Contains(out, "memory") {
		t.Errorf("got error %v, output %q, want a %s that names the field", err, out, want)
	}
	s.helm(t, append(args, "--force-conflicts")...)
	kit.Must(t, s.WaitRollout(s.Ctx))
	s.checkOwned(t, "upgrade --force-conflicts", before)
	d, err := s.Client.AppsV1().Deployments(webhook.Namespace).Get(s.Ctx, webhook.Deployment, metav1.GetOptions{})
	kit.Must(t, err)
	if got := d.Spec.Template.Spec.Containers[0].Resources.Limits.Memory().String(); got != "224Mi" {
		t.Errorf("memory limit is %s, want 224Mi", got)
	}
	if report := run.Stop(); report.Lost() > 0 {
		t.Errorf("got %s, want none lost: %v", report, report.Causes())
	}
}

// testTakeOver installs with kubectl, and then with Helm over it: no replica is replaced, no key is made anew.
func (s *suite) testTakeOver(t *testing.T) {
	_, err := s.Install(s.Ctx)
	kit.Must(t, err)
	run := s.startLoad(t, "")
	before, replicas := s.owned(t), s.names(t)
	if out, err := s.runHelm("install", name, s.chart); err == nil || !strings.Contains(out, "invalid ownership metadata") {
		t.Errorf("without --take-ownership: got error %v, output %q", err, out)
	}
	// kubectl apply has fields that Helm applies in another form, such as the fieldRef of POD_NAMESPACE without its default.
	s.helm(t, "install", name, s.chart, "--take-ownership", "--force-conflicts", "--wait", "--timeout", "3m")
	s.checkOwned(t, "install --take-ownership", before)
	if diff := cmp.Diff(replicas, s.names(t)); diff != "" {
		t.Errorf("replicas were replaced (-before +after):\n%s", diff)
	}
	if report := run.Stop(); report.Lost() > 0 {
		t.Errorf("got %s, want none lost: %v", report, report.Causes())
	}
}

func (s *suite) names(t *testing.T) []string {
	t.Helper()
	pods, err := s.Replicas(s.Ctx)
	kit.Must(t, err)
	var names []string
	for _, pod := range pods {
		names = append(names, pod.Name)
	}
	return names
}

// testSecondRelease records a release in custom-system, which then is no part of it, and tries another one.
func (s *suite) testSecondRelease(t *testing.T) {
	s.helm(t, "install", name, s.chart, "--namespace", webhook.Namespace, "--create-namespace", "--wait", "--timeout", "3m")
	out, err := s.runHelm("install", "second", s.chart, "--namespace", webhook.Namespace)
	if want := "invalid ownership metadata"; err == nil || !strings.Contains(out, want) {
		t.Errorf("got error %v, output %q, want %q", err, out, want)
	}
	if out := s.helm(t, "uninstall", name, "--namespace", webhook.Namespace, "--wait", "--timeout", "3m"); strings.Contains(out, "not deleted") {
		t.Errorf("got %q, want everything deleted", out)
	}
	s.Eventually(t, time.Minute, func() error {
		if out := s.Kubectl(t, "get", "all,secrets,serviceaccounts,roles,rolebindings", "-n", webhook.Namespace, "-l", "app=sts-webhook", "-o", "name"); out != "" {
			return fmt.Errorf("got %q, want nothing", out)
		}
		return nil
	})
	s.Kubectl(t, "delete", "namespace", webhook.Namespace)
}
