package check

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"sts-mutating-webhook/internal/placement"
)

const healthyTable = `CHECK          STATUS   MESSAGE
version        ok       replicas run v1.2.3 (image registry:5000/sts-webhook:1.2.3), as does this program
replicas       ok       2 of 2 ready on 2 nodes
trust          ok       a pod created as a dry run in namespace default got its nodeSelector
statefulsets   ok       a StatefulSet with a mistake, created as a dry run in namespace default, was refused
certificates   ok       CA until 2036-02-27 12:00 UTC, serving certificate until 2027-03-01 12:00 UTC; next step: renew on 2026-10-30 20:00 UTC
caBundle       ok       3 entries with the CA of the Secret
rbac           ok       service account custom-system/sts-webhook has the rights that its flags need
gate           ok       off; no pod is waiting behind it
alerts         ok       on: Secret custom-system/sts-webhook-dingtalk has the key url; sts-webhook alert-test sends a message
`

func TestAHealthyInstallationIsOkInEveryLine(t *testing.T) {
	var out bytes.Buffer
	if err := Print(&out, "table", Make(healthy(t))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(healthyTable, out.String()); diff != "" {
		t.Errorf("table differs (-want +got):\n%s", diff)
	}
}

func TestPrintShowsWhatToDo(t *testing.T) {
	results := []Result{warning("do this", "found that").named("trust")}
	var table, text bytes.Buffer
	if err := Print(&table, "table", results); err != nil {
		t.Fatal(err)
	}
	if want := "CHECK   STATUS    MESSAGE\ntrust   warning   found that; do this\n"; table.String() != want {
		t.Errorf("table: got %q, want %q", table.String(), want)
	}
	if err := Print(&text, "json", results); err != nil {
		t.Fatal(err)
	}
	var got []map[string]string
	if err := json.Unmarshal(text.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := []map[string]string{{"check": "trust", "status": "warning", "message": "found that", "todo": "do this"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("JSON differs (-want +got):\n%s", diff)
	}
}

// line changes a healthy installation, and is what the line of one check then says.
type line struct {
	change        func(*Snapshot)
	check         string
	status        Status
	message, todo string
}

// expectLines runs a table.
func expectLines(t *testing.T, lines map[string]line) {
	t.Helper()
	for name, c := range lines {
		t.Run(name, func(t *testing.T) {
			s := healthy(t)
			c.change(s)
			var got Result
			for _, r := range Make(s) {
				if r.Check == c.check {
					got = r
				}
			}
			if diff := cmp.Diff(Result{c.check, c.status, c.message, c.todo}, got); diff != "" {
				t.Errorf("result differs (-want +got):\n%s", diff)
			}
		})
	}
}

const (
	otherKubeconfig = "use a kubeconfig with the right to do so"
	checkAgain      = "run check again; if it stays so, look at the apiserver"
)

func TestVersionLine(t *testing.T) {
	images := func(images ...string) func(*Snapshot) {
		return func(s *Snapshot) {
			for i, image := range images {
				s.Pods.Value[i].Spec.Containers[0].Image = image
			}
		}
	}
	// unread means that the tag is all that is known.
	unread := func(names ...string) func(*Snapshot) {
		return func(s *Snapshot) {
			images(names...)(s)
			s.Versions.Value, s.Versions.Err = nil, forbidden("get", "pods/proxy")
		}
	}
	reports := func(versions ...string) func(*Snapshot) { return func(s *Snapshot) { s.Versions.Value = versions } }
	const differ = "use the program of the same version, or read CHANGELOG.md and upgrade"
	expectLines(t, map[string]line{
		"another version reported": {reports("v1.3.0"), "version", Warning,
			"replicas run v1.3.0 (image registry:5000/sts-webhook:1.2.3), this program is v1.2.3", differ},
		"two versions reported": {reports("v1.2.3", "v1.3.0"), "version", Warning,
			"replicas run v1.2.3 and v1.3.0 (image registry:5000/sts-webhook:1.2.3), this program is v1.2.3", differ},
		"no version reported": {reports(), "version", OK, "replicas run image registry:5000/sts-webhook:1.2.3, as does this program", ""},
		"the same tag":        {unread("x/sts-webhook:v1.2.3", "x/sts-webhook:v1.2.3"), "version", OK, "replicas run image x/sts-webhook:v1.2.3, as does this program", ""},
		"a tag that names no version": {unread("sts-webhook:latest", "sts-webhook:latest"), "version", OK,
			"replicas run image sts-webhook:latest, which names no version, and their metrics cannot be read; this program is v1.2.3", ""},
		"a digest alone": {unread("host:5000/w@sha256:12", "host:5000/w@sha256:12"), "version", OK,
			"replicas run image host:5000/w@sha256:12, which names no version, and their metrics cannot be read; this program is v1.2.3", ""},
		"a tag of another version": {unread("w:v1.3.0", "w:v1.3.0"), "version", Warning, "replicas run image w:v1.3.0, this program is v1.2.3", differ},
		"a rollout": {images("w:v1.3.0", "w:v1.2.3"), "version", Warning, "replicas run the images w:v1.2.3 and w:v1.3.0, this program is v1.2.3",
			"kubectl -n custom-system rollout status deployment/sts-webhook"},
		"one tag for two images": {func(s *Snapshot) { s.Pods.Value[1].Status.ContainerStatuses[0].ImageID = "sha256:2" }, "version", Warning,
			"the tag of registry:5000/sts-webhook:1.2.3 stands for different images on different nodes: sha256:1 and sha256:2",
			"give each version a tag of its own, then kubectl -n custom-system rollout restart deployment/sts-webhook"},
		"no pods": {func(s *Snapshot) { s.Pods.Value = nil }, "version", Warning, "no pod runs the container sts-webhook, this program is v1.2.3",
			"kubectl apply -f manifests/, and see the line of the replicas"},
		"forbidden": {func(s *Snapshot) { s.Pods.Err = forbidden("list", "pods") }, "version", Warning,
			"not checked: it is forbidden to list the pods of namespace custom-system", otherKubeconfig},
	})
}

func TestReplicasLine(t *testing.T) {
	notReady := func(s *Snapshot, pods ...int) {
		for _, i := range pods {
			s.Pods.Value[i].Status.Conditions[0].Status = corev1.ConditionFalse
		}
	}
	const status = "kubectl -n custom-system rollout status deployment/sts-webhook"
	const scale = "kubectl -n custom-system scale deployment/sts-webhook --replicas=2"
	const describe = "kubectl -n custom-system describe pods: the readiness probe's message says why"
	expectLines(t, map[string]line{
		"no Deployment": {func(s *Snapshot) { s.Deployment.Err = notFound("deployments", "sts-webhook") }, "replicas", Problem,
			"Deployment custom-system/sts-webhook does not exist", "kubectl apply -f manifests/"},
		"none ready": {func(s *Snapshot) { notReady(s, 0, 1) }, "replicas", Problem, "0 of 2 ready", describe},
		"none ready, since the image is missing": {func(s *Snapshot) {
			notReady(s, 0, 1)
			s.Pods.Value[0].Status.ContainerStatuses[0].State.Waiting = &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "no such image"}
		}, "replicas", Problem, "0 of 2 ready; a: ErrImagePull: no such image", describe},
		"none ready, since no node has room": {func(s *Snapshot) {
			notReady(s, 0, 1)
			s.Pods.Value[0].Status = corev1.PodStatus{Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no node"},
			}}
		}, "replicas", Problem, "0 of 2 ready; a: Unschedulable: no node", describe},
		"none wanted": {func(s *Snapshot) { s.Deployment.Value.Spec.Replicas, s.Pods.Value = new(int32(0)), nil }, "replicas", Problem,
			"0 of 0 ready: opted-in pods are refused, or wait behind the gate", scale},
		"one is not ready": {func(s *Snapshot) { notReady(s, 1) }, "replicas", Warning, "1 of 2 ready on 1 node", status},
		"one that ends does not count": {func(s *Snapshot) { s.Pods.Value[1].DeletionTimestamp = &metav1.Time{Time: now} }, "replicas", Warning,
			"1 of 2 ready on 1 node", status},
		"one wanted": {func(s *Snapshot) { s.Deployment.Value.Spec.Replicas, s.Pods.Value = nil, s.Pods.Value[:1] }, "replicas", Warning,
			"1 of 1 ready on 1 node: whenever it restarts, opted-in pods are refused", scale},
		"all on one node": {func(s *Snapshot) { s.Pods.Value[1].Spec.NodeName = "node-1" }, "replicas", Warning,
			"2 of 2 ready on 1 node, node-1: its loss takes all of them", "kubectl -n custom-system rollout restart deployment/sts-webhook, once there is another node"},
		"the Deployment is forbidden": {func(s *Snapshot) { s.Deployment.Err = forbidden("get", "deployments") }, "replicas", Warning,
			"not checked: it is forbidden to get Deployment custom-system/sts-webhook", otherKubeconfig},
		"the pods are forbidden": {func(s *Snapshot) { s.Pods.Err = forbidden("list", "pods") }, "replicas", Warning,
			"not checked: it is forbidden to list the pods of namespace custom-system", otherKubeconfig},
		"no answer": {func(s *Snapshot) { s.Deployment.Err = context.DeadlineExceeded }, "replicas", Warning,
			"not checked: cannot get Deployment custom-system/sts-webhook: context deadline exceeded", checkAgain},
	})
}

func TestTrustLine(t *testing.T) {
	fails := func(err error) func(*Snapshot) { return func(s *Snapshot) { s.Pod.Err = err } }
	const post = `failed to call webhook: Post "https://sts-webhook.custom-system.svc:8443/mutate?timeout=5s": `
	const says = "the apiserver cannot call the webhook: "
	const firewall = "let the control plane reach port 8443 of the pods: a firewall or a NetworkPolicy is in the way"
	const repaired = "wait a second, the caBundle is repaired; if it stays so, something else writes it: kubectl -n custom-system logs deployment/sts-webhook"
	expectLines(t, map[string]line{
		"the pod got another value": {func(s *Snapshot) { s.Pod.Value.Spec.NodeSelector = map[string]string{probeSet: "even"} }, "trust", Problem,
			"a pod created as a dry run in namespace default got no nodeSelector: the apiserver did not call the webhook",
			"kubectl apply -f manifests/, or see whether the namespaceSelector of MutatingWebhookConfiguration sts-mutating-webhook leaves out default"},
		"the pod waits behind the gate": {func(s *Snapshot) {
			s.Pod.Value.Spec.NodeSelector, s.Pod.Value.Spec.SchedulingGates = nil, []corev1.PodSchedulingGate{{Name: placement.Gate}}
		}, "trust", Problem, "a pod created as a dry run waits behind the scheduling gate: the apiserver could not call the webhook", "kubectl -n custom-system describe pods"},
		"forbidden": {fails(forbidden("create", "pods")), "trust", Warning,
			"trust was not proven: it is forbidden to create a pod as a dry run in namespace default", "use a kubeconfig with the right to create pods, or another namespace with -n"},
		"a quota": {fails(apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, probePod, errorText("exceeded quota"))), "trust", Warning,
			`trust was not proven: cannot create a pod as a dry run in namespace default: pods "sts-webhook-check-1" is forbidden: exceeded quota`,
			"choose another namespace with -n, or see why pods are refused in default"},
		"no such namespace": {fails(notFound("namespaces", "default")), "trust", Warning,
			`trust was not proven: cannot create a pod as a dry run in namespace default: namespaces "default" not found`,
			"choose another namespace with -n, or see why pods are refused in default"},
		"the webhook refuses": {fails(denial("pods", entryName)), "trust", Problem,
			`the webhook refuses a pod that is right: admission webhook "sts-webhook.custom-system.svc" denied the request: a mistake in pods`,
			"use the program of the same version as the webhook"},
		"the webhook refuses a pod behind the gate": {fails(denial("pods", gatedEntryName)), "trust", Problem,
			`the webhook refuses a pod that is right: admission webhook "gated.sts-webhook.custom-system.svc" denied the request: a mistake in pods`,
			"use the program of the same version as the webhook"},
		"another webhook refuses": {fails(denial("pods", "other.example.com")), "trust", Warning,
			`trust was not proven: cannot create a pod as a dry run in namespace default: admission webhook "other.example.com" denied the request: a mistake in pods`,
			"choose another namespace with -n, or see why pods are refused in default"},
		"no endpoints": {fails(failedCall(post + `no endpoints available for service "sts-webhook"`)), "trust", Problem,
			says + `no endpoints available for service "sts-webhook"`, "kubectl -n custom-system describe pods: no replica is ready"},
		"connection refused": {fails(failedCall(post + "dial tcp 10.0.0.1:8443: connect: connection refused")), "trust", Problem,
			says + "dial tcp 10.0.0.1:8443: connect: connection refused", "kubectl -n custom-system describe pods: no replica listens"},
		"x509": {fails(failedCall(post + "tls: failed to verify certificate: x509: certificate signed by unknown authority")), "trust", Problem,
			says + "tls: failed to verify certificate: x509: certificate signed by unknown authority", repaired},
		"a caBundle without certificate": {fails(failedCall("could not get REST client: unable to load root certificates: unable to parse bytes as PEM block")), "trust", Problem,
			says + "could not get REST client: unable to load root certificates: unable to parse bytes as PEM block", repaired},
		"timeout of the call": {fails(failedCall(post + "context deadline exceeded")), "trust", Problem, says + "context deadline exceeded", firewall},
		"timeout of the dial": {fails(failedCall(post + "dial tcp 10.0.0.1:8443: i/o timeout")), "trust", Problem, says + "dial tcp 10.0.0.1:8443: i/o timeout", firewall},
		"no route": {fails(failedCall(post + "dial tcp 10.0.0.1:8443: connect: no route to host")), "trust", Problem,
			says + "dial tcp 10.0.0.1:8443: connect: no route to host", "let the control plane reach port 8443 of the pods: a firewall or the pod network is in the way"},
		"no Service": {fails(failedCall(post + `service "sts-webhook" not found`)), "trust", Problem, says + `service "sts-webhook" not found`, "kubectl apply -f manifests/30-service.yaml"},
		"a Service without the port": {fails(failedCall(post + `no service port 8443 found for service "sts-webhook"`)), "trust", Problem,
			says + `no service port 8443 found for service "sts-webhook"`, "kubectl apply -f manifests/30-service.yaml"},
		"any other failure": {fails(failedCall(post + "EOF")), "trust", Problem, says + "EOF", "kubectl -n custom-system logs deployment/sts-webhook"},
		"no answer": {fails(context.DeadlineExceeded), "trust", Problem, "the apiserver did not answer in time to the request to create a pod as a dry run in namespace default",
			"look at the apiserver, and at the webhooks that it calls: kubectl get mutatingwebhookconfigurations"},
	})
}

func TestEveryCheckIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range slices.Concat(Make(healthy(t)), MakePre(fit())) {
		if !bytes.Contains(page, []byte("`"+r.Check+"`")) {
			t.Errorf("docs/commands.md does not name the check %s", r.Check)
		}
	}
}
