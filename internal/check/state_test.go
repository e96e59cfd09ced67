package check

import (
	"slices"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
)

func TestStatefulSetsLine(t *testing.T) {
	expectLines(t, map[string]line{
		"accepted, without the configuration": {func(s *Snapshot) {
			s.StatefulSet.Err, s.Validating.Err = nil, notFound("validatingwebhookconfigurations", "sts-validating-webhook")
		}, "statefulsets", Warning, "a StatefulSet with a mistake is accepted: ValidatingWebhookConfiguration sts-validating-webhook does not exist",
			"kubectl apply -f manifests/06-validating-webhook.yaml"},
		"accepted": {func(s *Snapshot) { s.StatefulSet.Err = nil }, "statefulsets", Warning,
			"a StatefulSet with a mistake is accepted in namespace default: the apiserver did not call the webhook, or could not",
			"see the line of trust; then kubectl apply -f manifests/06-validating-webhook.yaml"},
		"refused by somebody else": {func(s *Snapshot) { s.StatefulSet.Err = denial("statefulsets", "other.example.com") }, "statefulsets", Warning,
			`not checked: cannot create a StatefulSet as a dry run in namespace default: admission webhook "other.example.com" denied the request: a mistake in statefulsets`,
			"choose another namespace with -n, or see why StatefulSets are refused in default"},
		"forbidden": {func(s *Snapshot) { s.StatefulSet.Err = forbidden("create", "statefulsets") }, "statefulsets", Warning,
			"not checked: it is forbidden to create a StatefulSet as a dry run in namespace default", "use a kubeconfig with the right to create StatefulSets, or another namespace with -n"},
	})
}

func TestCertificatesLine(t *testing.T) {
	lives := func(ca, serving time.Duration, at time.Time) func(*Snapshot) {
		return func(s *Snapshot) {
			signer := newAuthority(t, ca)
			s.Now, s.Secret.Value.Data = at, map[string][]byte{"ca.crt": signer.pem, "tls.crt": signer.serving(t, serving)}
		}
	}
	const lasts = "CA until 2036-02-27 12:00 UTC, serving certificate until 2027-03-01 12:00 UTC"
	const logs = "kubectl -n custom-system logs deployment/sts-webhook"
	const restored = "wait a second, a ready replica restores it; if it stays so: " + logs
	expectLines(t, map[string]line{
		"no Secret": {func(s *Snapshot) { s.Secret.Err = notFound("secrets", "sts-webhook-certs") }, "certificates", Problem,
			"Secret custom-system/sts-webhook-certs does not exist", "wait a second, a ready replica restores it; if there is none: kubectl apply -f manifests/"},
		"forbidden": {func(s *Snapshot) { s.Secret.Err = forbidden("get", "secrets") }, "certificates", Warning,
			"not checked: it is forbidden to get Secret custom-system/sts-webhook-certs", otherKubeconfig},
		"empty": {func(s *Snapshot) { s.Secret.Value.Data = nil }, "certificates", Problem, "Secret custom-system/sts-webhook-certs: the Secret is empty", restored},
		"no CA": {func(s *Snapshot) { delete(s.Secret.Value.Data, "ca.crt") }, "certificates", Problem,
			"Secret custom-system/sts-webhook-certs: ca.crt: holds 0 certificates, want 1 to 4", restored},
		"no serving certificate": {func(s *Snapshot) { s.Secret.Value.Data["tls.crt"] = []byte("junk") }, "certificates", Problem,
			"Secret custom-system/sts-webhook-certs: tls.crt: no certificate", restored},
		"of another CA": {func(s *Snapshot) { s.Secret.Value.Data["ca.crt"] = newAuthority(t, 3650*day).pem }, "certificates", Problem,
			"Secret custom-system/sts-webhook-certs: tls.crt is not signed by the first certificate of ca.crt, or not for sts-webhook.custom-system.svc", restored},
		"the CA has expired": {lives(10*day, 5*day, made.Add(10*day)), "certificates", Problem,
			"the CA has expired: CA until 2026-03-11 12:00 UTC, serving certificate until 2026-03-06 12:00 UTC", "see why no replica renewed it: " + logs},
		"the serving certificate has expired": {lives(10*day, 5*day, made.Add(5*day)), "certificates", Problem,
			"the serving certificate has expired: CA until 2026-03-11 12:00 UTC, serving certificate until 2026-03-06 12:00 UTC", "see why no replica renewed it: " + logs},
		"due, and the clocks may differ": {lives(3650*day, 365*day, time.Date(2026, 10, 30, 20, 5, 0, 0, time.UTC)), "certificates", OK,
			lasts + "; next step: renew on 2026-10-30 20:00 UTC", ""},
		"overdue": {lives(3650*day, 365*day, time.Date(2026, 10, 30, 20, 5, 1, 0, time.UTC)), "certificates", Warning,
			lasts + "; overdue: renew since 2026-10-30 20:00 UTC", logs + ", whose message WriteRefused says why"},
		"an old CA is still trusted": {func(s *Snapshot) {
			s.Secret.Value.Data["ca.crt"] = slices.Concat(s.Secret.Value.Data["ca.crt"], newAuthority(t, 3650*day).pem)
		}, "certificates", OK, lasts + "; next step: retire on 2026-03-02 12:00 UTC", ""},
		"unknown flags": {func(s *Snapshot) { s.Flags.Err = errorText("unknown flag: --new") }, "certificates", OK,
			lasts + "; next step unknown, as the Deployment's flags are", ""},
	})
}

func TestCABundleLine(t *testing.T) {
	const repaired = "wait a second, a ready replica repairs it; if it stays so, something else writes it: kubectl -n custom-system logs deployment/sts-webhook"
	ignore := admissionv1.Ignore
	expectLines(t, map[string]line{
		"no configuration": {func(s *Snapshot) { s.Mutating.Err = notFound("mutatingwebhookconfigurations", "sts-mutating-webhook") }, "caBundle", Problem,
			"MutatingWebhookConfiguration sts-mutating-webhook does not exist: opted-in pods are created without a nodeSelector", "kubectl apply -f manifests/"},
		"forbidden": {func(s *Snapshot) { s.Mutating.Err = forbidden("get", "mutatingwebhookconfigurations") }, "caBundle", Warning,
			"not checked: it is forbidden to get MutatingWebhookConfiguration sts-mutating-webhook", otherKubeconfig},
		"the other is forbidden": {func(s *Snapshot) { s.Validating.Err = forbidden("get", "validatingwebhookconfigurations") }, "caBundle", Warning,
			"not checked: it is forbidden to get ValidatingWebhookConfiguration sts-validating-webhook", otherKubeconfig},
		"no entry is ours": {func(s *Snapshot) {
			for i := range s.Mutating.Value.Webhooks {
				s.Mutating.Value.Webhooks[i].ClientConfig.Service.Namespace = "elsewhere"
			}
		}, "caBundle", Problem, "no entry of MutatingWebhookConfiguration sts-mutating-webhook calls Service custom-system/sts-webhook",
			"kubectl apply -f manifests/05-webhook.yaml"},
		"one entry is not ours": {func(s *Snapshot) {
			other := &s.Mutating.Value.Webhooks[1].ClientConfig
			other.Service.Namespace, other.CABundle = "elsewhere", nil
		}, "caBundle", OK, "2 entries with the CA of the Secret", ""},
		"without the check of StatefulSets": {func(s *Snapshot) {
			s.Validating.Err = notFound("validatingwebhookconfigurations", "sts-validating-webhook")
		}, "caBundle", OK,
			"2 entries with the CA of the Secret", ""},
		"an empty caBundle": {func(s *Snapshot) { s.Mutating.Value.Webhooks[1].ClientConfig.CABundle = nil }, "caBundle", Problem,
			"the caBundle of gated.sts-webhook.custom-system.svc in sts-mutating-webhook holds no certificate", repaired},
		"a foreign CA": {func(s *Snapshot) { s.Validating.Value.Webhooks[0].ClientConfig.CABundle = newAuthority(t, day).pem }, "caBundle", Problem,
			"the caBundle of statefulsets.sts-webhook.custom-system.svc in sts-validating-webhook does not hold the CA of the Secret", repaired},
		"a CA beside": {func(s *Snapshot) {
			config := &s.Mutating.Value.Webhooks[0].ClientConfig
			config.CABundle = slices.Concat(newAuthority(t, day).pem, config.CABundle)
		}, "caBundle", OK, "3 entries with the CA of the Secret", ""},
		"failurePolicy Ignore": {func(s *Snapshot) { s.Mutating.Value.Webhooks[0].FailurePolicy = &ignore }, "caBundle", Warning,
			"failurePolicy of sts-webhook.custom-system.svc is Ignore, not Fail: while no replica answers, pods start on any node",
			"kubectl apply -f manifests/05-webhook.yaml, and see docs/availability.md"},
		"a problem is worse than the failurePolicy": {func(s *Snapshot) {
			s.Mutating.Value.Webhooks[0].FailurePolicy, s.Mutating.Value.Webhooks[0].ClientConfig.CABundle = &ignore, nil
		}, "caBundle", Problem, "the caBundle of sts-webhook.custom-system.svc in sts-mutating-webhook holds no certificate", repaired},
		"the Secret is forbidden": {func(s *Snapshot) { s.Secret.Err = forbidden("get", "secrets") }, "caBundle", Warning,
			"not checked: it is forbidden to get Secret custom-system/sts-webhook-certs, which the caBundles are compared with", otherKubeconfig},
		"the Secret is damaged": {func(s *Snapshot) { s.Secret.Value.Data = nil }, "caBundle", Warning,
			"not checked: Secret custom-system/sts-webhook-certs: the Secret is empty", "see the line of the certificates"},
	})
}

func TestRBACLine(t *testing.T) {
	lacks := func(file string) func(*Snapshot) {
		return func(s *Snapshot) {
			for _, r := range granted {
				if r.File == file && !slices.Contains(s.Denied.Value, r) {
					s.Denied.Value = append(s.Denied.Value, r)
				}
			}
		}
	}
	const who = "service account custom-system/sts-webhook may not "
	expectLines(t, map[string]line{
		"forbidden": {func(s *Snapshot) { s.Denied.Err = forbidden("create", "subjectaccessreviews") }, "rbac", Warning,
			"not checked: it is forbidden to create SubjectAccessReviews", otherKubeconfig},
		"its Role and ClusterRole": {lacks(coreRightsFile), "rbac", Problem, who + "get, list, watch, update, patch and create secrets sts-webhook-certs, " +
			"get, list, watch and update mutatingwebhookconfigurations sts-mutating-webhook, get, list, watch and update validatingwebhookconfigurations sts-validating-webhook",
			"kubectl apply -f manifests/10-rbac.yaml"},
		"one verb": {func(s *Snapshot) { s.Denied.Value = append(s.Denied.Value, granted[3]) }, "rbac", Problem, who + "update secrets sts-webhook-certs",
			"kubectl apply -f manifests/10-rbac.yaml"},
		"nodes": {lacks(nodeRightsFile), "rbac", Warning, who + "list and watch nodes", "kubectl apply -f manifests/11-rbac-nodes.yaml, or start with --check-nodes=false"},
		"nodes, which it does not check": {func(s *Snapshot) { lacks(nodeRightsFile)(s); s.Flags.Value.CheckNodes = false }, "rbac", OK,
			"service account custom-system/sts-webhook has the rights that its flags need", ""},
		"events": {lacks(eventRightsFile), "rbac", Warning, who + "create and patch events", "kubectl apply -f manifests/12-rbac-events.yaml, or start with --events=false"},
		"volumes, which it checks": {func(s *Snapshot) { s.Flags.Value.CheckVolume = true }, "rbac", Warning,
			who + "list and watch persistentvolumeclaims, list and watch persistentvolumes",
			"kubectl apply -f manifests/optional/check-volumes/rbac-volumes.yaml, or start with --check-volumes=false"},
		"pods, with the gate": {func(s *Snapshot) { s.Gate.Value[gateObjects[0]] = true }, "rbac", Problem, who + "list, watch and patch pods",
			"kubectl apply -f manifests/optional/gate/40-rbac.yaml"},
		"unknown flags": {func(s *Snapshot) { s.Flags.Err = errorText("unknown flag: --new") }, "rbac", Warning,
			"the Deployment's flags cannot be read, so some rights were not checked: unknown flag: --new", "use the program of the same version as the webhook"},
	})
}

func TestGateLine(t *testing.T) {
	on := func(without ...Object) func(*Snapshot) {
		return func(s *Snapshot) {
			for _, o := range gateObjects {
				s.Gate.Value[o] = !slices.Contains(without, o)
			}
		}
	}
	waiting := func(change func(*Snapshot), n int) func(*Snapshot) {
		return func(s *Snapshot) { change(s); s.Waiting.Value = n }
	}
	const pending = "kubectl get pods -A -l ab-build-different=true --field-selector status.phase=Pending"
	expectLines(t, map[string]line{
		"on":                          {on(), "gate", OK, "on; no pod is waiting behind it", ""},
		"on, and a pod waits":         {waiting(on(), 1), "gate", Warning, "on; 1 pod waiting behind it", pending + "; the event NotPlaced of each says why"},
		"off, and pods wait for ever": {waiting(func(*Snapshot) {}, 2), "gate", Problem, "off, and nobody places the 2 pods waiting behind it", "kubectl apply -f manifests/optional/gate/, or delete the pods: " + pending},
		"half": {waiting(on(gateObjects[0], gateObjects[7]), 2), "gate", Warning,
			"half on, without MutatingAdmissionPolicyBinding sts-webhook-gate and ClusterRoleBinding sts-webhook-gate; 2 pods waiting behind it", gateTodo},
		"the policy without what guards it": {on(gateObjects[2:]...), "gate", Warning, "half on, without ValidatingAdmissionPolicyBinding sts-webhook-gate-guard, " +
			"ValidatingAdmissionPolicy sts-webhook-gate-guard, ValidatingAdmissionPolicyBinding sts-webhook-gate-confinement, " +
			"ValidatingAdmissionPolicy sts-webhook-gate-confinement, ClusterRole sts-webhook-gate and ClusterRoleBinding sts-webhook-gate; 0 pods waiting behind it", gateTodo},
		"before Kubernetes 1.36":    {on(gateObjects[:2]...), "gate", OK, "on for pods whose template has it, without the policy; no pod is waiting behind it", ""},
		"the objects are forbidden": {func(s *Snapshot) { s.Gate.Err = forbidden("get", "clusterroles") }, "gate", Warning, "not checked: it is forbidden to get the objects of manifests/optional/gate", otherKubeconfig},
		"the pods are forbidden":    {func(s *Snapshot) { s.Waiting.Err = forbidden("list", "pods") }, "gate", Warning, "not checked: it is forbidden to list pods of all namespaces", otherKubeconfig},
	})
}
