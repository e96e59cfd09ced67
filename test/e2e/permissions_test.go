package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// serviceAccount is who the webhook is to the apiserver.
const serviceAccount = "system:serviceaccount:" + webhook.Namespace + ":sts-webhook"

// request is one to the apiserver. APPLY is a PATCH by server-side apply.
type request struct{ what, method, path, body string }

const (
	secrets      = "/api/v1/namespaces/" + webhook.Namespace + "/secrets"
	registration = "/apis/admissionregistration.k8s.io/v1/"
	mutating     = registration + "mutatingwebhookconfigurations"
	validating   = registration + "validatingwebhookconfigurations"
)

var permitted = []request{
	{"read its Secret", "GET", secrets + "/" + webhook.Secret, ""},
	{"list its Secret", "GET", secrets + "?fieldSelector=metadata.name%3D" + webhook.Secret, ""},
	{"create its Secret", "APPLY", secrets + "/" + webhook.Secret,
		`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"` + webhook.Secret + `"}}`},
	{"read its configuration", "GET", mutating + "/" + webhook.Configuration, ""},
	{"read the configuration that checks StatefulSets", "GET", validating + "/" + webhook.ValidatingConfiguration, ""},
	{"write an Event in any namespace", "POST", "/api/v1/namespaces/kube-system/events",
		`{"metadata":{"name":"event","namespace":"kube-system"},"involvedObject":{"kind":"StatefulSet","name":"web","namespace":"kube-system"}}`},
}

var forbidden = []request{
	{"read another Secret of its namespace", "GET", secrets + "/not-ours", ""},
	{"read a Secret of another namespace", "GET", "/api/v1/namespaces/kube-system/secrets/not-ours", ""},
	{"list the Secrets of its namespace", "GET", secrets, ""},
	{"create a Secret of another name", "POST", secrets, `{"metadata":{"name":"another"}}`},
	{"apply a Secret of another name", "APPLY", secrets + "/another", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"another"}}`},
	{"change another Secret", "PATCH", secrets + "/not-ours", `{"data":{}}`},
	{"delete its Secret", "DELETE", secrets + "/" + webhook.Secret, ""},
	{"list all webhook configurations", "GET", mutating, ""},
	{"create a webhook configuration", "POST", mutating, `{"metadata":{"name":"another"}}`},
	{"delete its configuration", "DELETE", mutating + "/" + webhook.Configuration, ""},
	{"list all configurations that validate", "GET", validating, ""},
	{"delete the configuration that checks StatefulSets", "DELETE", validating + "/" + webhook.ValidatingConfiguration, ""},
	{"read pods", "GET", "/api/v1/namespaces/default/pods", ""},
	{"read Events", "GET", "/api/v1/namespaces/default/events", ""},
	{"delete an Event", "DELETE", "/api/v1/namespaces/default/events/any", ""},
	{"read StatefulSets", "GET", "/apis/apps/v1/namespaces/default/statefulsets", ""},
	{"read its own Deployment", "GET", "/apis/apps/v1/namespaces/" + webhook.Namespace + "/deployments/" + webhook.Deployment, ""},
	{"read its own namespace's objects", "GET", "/api/v1/namespaces/" + webhook.Namespace + "/configmaps", ""},
}

func (s *suite) testPermissions(t *testing.T) {
	for _, namespace := range []string{webhook.Namespace, "kube-system"} {
		s.Kubectl(t, "create", "secret", "generic", "not-ours", "--namespace", namespace)
	}
	config := s.Cluster.RESTConfig()
	config.Impersonate = rest.ImpersonationConfig{
		UserName: serviceAccount,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + webhook.Namespace, "system:authenticated"},
	}
	client, err := kubernetes.NewForConfig(config)
	kit.Must(t, err)
	for _, r := range permitted {
		if err := s.send(client, r); err != nil {
			t.Errorf("the service account cannot %s: %v", r.what, err)
		}
	}
	for _, r := range forbidden {
		if err := s.send(client, r); !apierrors.IsForbidden(err) {
			t.Errorf("%s as the service account: got %v, want forbidden", r.what, err)
		}
		if err := s.send(s.Client, r); apierrors.IsForbidden(err) || err != nil && strings.Contains(err.Error(), "the server could not find the requested resource") {
			t.Errorf("%s as administrator: got %v, want that there is such a request", r.what, err)
		}
	}
}

// send makes a dry run.
func (s *suite) send(client kubernetes.Interface, r request) error {
	contentType := map[string]string{
		"POST": "application/json", "PATCH": string(types.MergePatchType), "APPLY": string(types.ApplyPatchType),
	}[r.method]
	call := client.Discovery().RESTClient().Verb(strings.Replace(r.method, "APPLY", "PATCH", 1)).RequestURI(r.path)
	if r.method != "GET" {
		call.Param("dryRun", metav1.DryRunAll)
	}
	if r.body != "" {
		call.Param("fieldManager", "e2e").SetHeader("Content-Type", contentType).Body([]byte(r.body))
	}
	return call.Do(s.Ctx).Error()
}

// testForbidden reads what the apiserver answered to the webhook from the first
// chapter on, also to replicas that are gone. Requests of administrators in its
// name, as in testPermissions, are not among them.
func (s *suite) testForbidden(t *testing.T) {
	requests := map[string]int{}
	for _, event := range s.auditLog(t) {
		if event.User.Username != serviceAccount {
			continue
		}
		requests[event.Verb]++
		if event.ResponseStatus.Code == http.StatusForbidden {
			t.Errorf("the apiserver forbade the webhook to %s %s", event.Verb, event.RequestURI)
		}
	}
	t.Logf("requests of the webhook: %v", requests)
	for _, verb := range []string{"get", "watch", "update", "patch"} {
		if requests[verb] == 0 {
			t.Errorf("the audit log holds no %s of the webhook, so it does not hold everything: %v", verb, requests)
		}
	}
	answered, refused := s.count(t, "rest_client_requests_total", "code", "200"), s.count(t, "rest_client_requests_total", "code", "403")
	if answered == 0 || refused != 0 {
		t.Errorf("the replicas count %v answers with 200 and %v with 403, want some and none", answered, refused)
	}
}

// testNeverBlocked creates pods that the webhook would deny or could not answer
// for, with the webhook at work and without it.
func (s *suite) testNeverBlocked(t *testing.T) {
	namespace := s.namespace(t)
	s.expectOpenSystem(t, "while it works")
	refused := s.createOrphan(namespace, "refused")
	if status, ok := refused.(apierrors.APIStatus); !ok || status.Status().Code != http.StatusUnprocessableEntity {
		t.Errorf("the pod in another namespace: got %v, want a denial", refused)
	}
	kit.Must(t, s.within(func(ctx context.Context) error { return s.Scale(ctx, 0) }))
	s.expectOpenSystem(t, "while it is away")
	if err := s.createOrphan(namespace, "refused"); err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
		t.Errorf("the pod in another namespace while the webhook is away: got %v, want a failed call", err)
	}
	set := kit.StatefulSet("no-label", 1, kit.ByParity)
	delete(set.Spec.Template.Labels, webhook.Label)
	s.apply(t, namespace, set)
	kit.Must(t, s.within(func(ctx context.Context) error { return s.Scale(ctx, 2) }))
	s.expectPlaced(t, s.apply(t, namespace, kit.StatefulSet("web", 6, kit.ByParity)), "web", nil)
}

func (s *suite) expectOpenSystem(t *testing.T, when string) {
	t.Helper()
	for _, namespace := range []string{"kube-system", webhook.Namespace} {
		if err := s.createOrphan(namespace, "opted-in"); err != nil {
			t.Errorf("%s, in %s: %v", when, namespace, err)
			continue
		}
		kit.Must(t, s.Client.CoreV1().Pods(namespace).Delete(s.Ctx, "opted-in", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
	}
}

// createOrphan creates a pod that opts in and that no StatefulSet owns.
func (s *suite) createOrphan(namespace, name string) error {
	pod := kit.OwnedPod(name, 0, kit.ByParity)
	pod.Name, pod.OwnerReferences = name, nil
	_, err := s.Client.CoreV1().Pods(namespace).Create(s.Ctx, pod, metav1.CreateOptions{})
	return err
}
