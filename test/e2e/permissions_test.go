package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// serviceAccount is who the webhook is to the apiserver.
const serviceAccount = "system:serviceaccount:" + webhook.Namespace + ":sts-webhook"

// asWebhook is a client with the rights of the webhook's service account.
func (s *suite) asWebhook(t *testing.T) kubernetes.Interface {
	t.Helper()
	config := s.Cluster.RESTConfig()
	config.Impersonate = rest.ImpersonationConfig{
		UserName: serviceAccount,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + webhook.Namespace, "system:authenticated"},
	}
	client, err := kubernetes.NewForConfig(config)
	kit.Must(t, err)
	return client
}

func (s *suite) testPermissions(t *testing.T) {
	for _, namespace := range []string{webhook.Namespace, "kube-system"} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "not-ours"}}
		_, err := s.Client.CoreV1().Secrets(namespace).Create(s.Ctx, secret, metav1.CreateOptions{})
		kit.Must(t, err)
	}
	client := s.asWebhook(t)
	secrets := client.CoreV1().Secrets(webhook.Namespace)
	foreign := client.CoreV1().Secrets("kube-system")
	configurations := client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	checks := client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	dryRun := []string{metav1.DryRunAll}
	applied := func(name string) error {
		body := []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"` + name + `"}}`)
		_, err := secrets.Patch(s.Ctx, name, types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: "e2e", DryRun: dryRun})
		return err
	}
	for what, call := range map[string]func() error{
		"read its Secret": func() error { return errOf(secrets.Get(s.Ctx, webhook.Secret, metav1.GetOptions{})) },
		"list its Secret": func() error {
			return errOf(secrets.List(s.Ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + webhook.Secret}))
		},
		"create its Secret": func() error { return applied(webhook.Secret) },
		"read its configuration": func() error {
			return errOf(configurations.Get(s.Ctx, webhook.Configuration, metav1.GetOptions{}))
		},
		"write an Event in any namespace": func() error {
			event := &corev1.Event{
				ObjectMeta:     metav1.ObjectMeta{Name: "event", Namespace: "kube-system"},
				InvolvedObject: corev1.ObjectReference{Kind: "StatefulSet", Name: "web", Namespace: "kube-system"},
			}
			return errOf(client.CoreV1().Events("kube-system").Create(s.Ctx, event, metav1.CreateOptions{DryRun: dryRun}))
		},
		"read the configuration that checks StatefulSets": func() error {
			return errOf(checks.Get(s.Ctx, webhook.ValidatingConfiguration, metav1.GetOptions{}))
		},
	} {
		if err := call(); err != nil {
			t.Errorf("the service account cannot %s: %v", what, err)
		}
	}
	for what, call := range map[string]func() error{
		"read another Secret of its namespace": func() error { return errOf(secrets.Get(s.Ctx, "not-ours", metav1.GetOptions{})) },
		"read a Secret of another namespace":   func() error { return errOf(foreign.Get(s.Ctx, "not-ours", metav1.GetOptions{})) },
		"list the Secrets of its namespace":    func() error { return errOf(secrets.List(s.Ctx, metav1.ListOptions{})) },
		"create a Secret of another name": func() error {
			other := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "another"}}
			return errOf(secrets.Create(s.Ctx, other, metav1.CreateOptions{DryRun: dryRun}))
		},
		"apply a Secret of another name": func() error { return applied("another") },
		"change another Secret": func() error {
			return errOf(secrets.Patch(s.Ctx, "not-ours", types.MergePatchType, []byte(`{"data":{}}`), metav1.PatchOptions{DryRun: dryRun}))
		},
		"delete its Secret": func() error {
			return secrets.Delete(s.Ctx, webhook.Secret, metav1.DeleteOptions{DryRun: dryRun})
		},
		"list all webhook configurations": func() error { return errOf(configurations.List(s.Ctx, metav1.ListOptions{})) },
		"create a webhook configuration": func() error {
			other := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "another"}}
			return errOf(configurations.Create(s.Ctx, other, metav1.CreateOptions{DryRun: dryRun}))
		},
		"delete its configuration": func() error {
			return configurations.Delete(s.Ctx, webhook.Configuration, metav1.DeleteOptions{DryRun: dryRun})
		},
		"read pods":   func() error { return errOf(client.CoreV1().Pods("default").List(s.Ctx, metav1.ListOptions{})) },
		"read Events": func() error { return errOf(client.CoreV1().Events("default").List(s.Ctx, metav1.ListOptions{})) },
		"delete an Event": func() error {
			return client.CoreV1().Events("default").Delete(s.Ctx, "any", metav1.DeleteOptions{DryRun: dryRun})
		},
		"list all configurations that validate": func() error { return errOf(checks.List(s.Ctx, metav1.ListOptions{})) },
		"delete the configuration that checks StatefulSets": func() error {
			return checks.Delete(s.Ctx, webhook.ValidatingConfiguration, metav1.DeleteOptions{DryRun: dryRun})
		},
		"read StatefulSets": func() error { return errOf(client.AppsV1().StatefulSets("default").List(s.Ctx, metav1.ListOptions{})) },
		"read its own Deployment": func() error {
			return errOf(client.AppsV1().Deployments(webhook.Namespace).Get(s.Ctx, webhook.Deployment, metav1.GetOptions{}))
		},
		"read its own namespace's objects": func() error {
			return errOf(client.CoreV1().ConfigMaps(webhook.Namespace).List(s.Ctx, metav1.ListOptions{}))
		},
	} {
		if err := call(); !apierrors.IsForbidden(err) {
			t.Errorf("%s as the service account: got %v, want forbidden", what, err)
		}
	}
}

func errOf[T any](_ T, err error) error { return err }

// testForbidden reads what the apiserver answered to the webhook from the first
// chapter on, also to replicas that are gone. Requests of administrators in its
// name, as in testPermissions, are not among them.
func (s *suite) testForbidden(t *testing.T) {
	file, err := os.Open(s.Cluster.LogPath(cluster.Audit))
	kit.Must(t, err)
	defer file.Close()
	requests := map[string]int{}
	for lines := json.NewDecoder(file); ; {
		var event struct {
			User           struct{ Username string }
			Verb           string
			RequestURI     string
			ResponseStatus struct{ Code int }
		}
		if err := lines.Decode(&event); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
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
	answered, err := s.Sum(s.Ctx, "rest_client_requests_total", map[string]string{"code": "200"})
	kit.Must(t, err)
	forbidden, err := s.Sum(s.Ctx, "rest_client_requests_total", map[string]string{"code": "403"})
	kit.Must(t, err)
	if answered == 0 || forbidden != 0 {
		t.Errorf("the replicas count %v answers with 200 and %v with 403, want some and none", answered, forbidden)
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
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{webhook.Label: "true"}},
		Spec:       kit.PodSpec(),
	}
	_, err := s.Client.CoreV1().Pods(namespace).Create(s.Ctx, pod, metav1.CreateOptions{})
	return err
}
