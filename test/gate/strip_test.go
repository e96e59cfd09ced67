package gate

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/selfsigned"
	"sts-mutating-webhook/test/webhook"
)

// Patches of the other webhook. An add replaces what is there.
const (
	stripSelector   = `[{"op":"add","path":"/spec/nodeSelector","value":{}}]`
	stripGate       = `[{"op":"add","path":"/spec/schedulingGates","value":[]}]`
	stripAnnotation = `[{"op":"add","path":"/metadata/annotations/sts-webhook.custom-system.svc~1placed","value":""}]`
	stripLabel      = `[{"op":"remove","path":"/metadata/labels/sts-webhook.custom-system.svc~1gate"}]`
)

// testStripped has another webhook take away what the policy or ours put on pods. Nothing may be stored that could start on a wrong
// node.
func (s *suite) testStripped(t *testing.T) {
	s.setPolicy(t, "gate")
	const (
		before, after  = "aa-stripper", "zz-stripper" // kube-apiserver calls webhooks in the order of their configurations' names
		never, again   = admissionregistrationv1.NeverReinvocationPolicy, admissionregistrationv1.IfNeededReinvocationPolicy
		lost, selector = "neither its scheduling gate", "but its nodeSelector does not say so any more"
	)
	type attempt struct {
		name, patch string
		again       admissionregistrationv1.ReinvocationPolicyType
		refusal     string // empty: the pod is placed or waits
	}
	for _, replicas := range []int{2, 0} {
		kit.Must(t, s.Scale(s.Ctx, replicas))
		attempts := map[string]attempt{
			"the selector, once: ours gives it again":    {after, stripSelector, never, ""},
			"the selector, always":                       {after, stripSelector, again, selector},
			"the gate before ours is called":             {before, stripGate, never, ""},
			"the annotation, once: ours writes it again": {after, stripAnnotation, never, ""},
			"the annotation, always":                     {after, stripAnnotation, again, lost},
			"the label before ours is called":            {before, stripLabel, never, ""},
			"a gate that ours has removed":               {after, stripGate, again, ""},
			"the label once ours was called, for good":   {after, stripLabel, never, ""},
		}
		if replicas == 0 {
			attempts = map[string]attempt{
				"the selector, which is not there yet":   {after, stripSelector, again, ""},
				"the gate, before":                       {before, stripGate, never, lost},
				"the gate, after":                        {after, stripGate, never, lost},
				"the annotation, which is not there yet": {after, stripAnnotation, again, ""},
				"the label, after":                       {after, stripLabel, never, ""},
				"the label, before: as without the gate": {before, stripLabel, never, "failed calling webhook"},
			}
		}
		for sentence, a := range attempts {
			t.Run(sentence, func(t *testing.T) {
				s.startStripper(t, a.name, a.patch, a.again)
				dryRun := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
				pod, err := s.Client.CoreV1().Pods(namespace).Create(s.Ctx, kit.OrphanPod("stripped", 1, kit.ByParity), dryRun)
				switch {
				case a.refusal != "":
					if err == nil || !strings.Contains(err.Error(), a.refusal) {
						t.Errorf("got a pod with selector %v and gates %v, error %v, want a refusal with %q",
							pod.Spec.NodeSelector, pod.Spec.SchedulingGates, err, a.refusal)
					}
				case err != nil:
					t.Fatal(err)
				case replicas > 0 && !placed(*pod), replicas == 0 && (len(pod.Spec.SchedulingGates) != 1 || pod.Spec.SchedulingGates[0].Name != webhook.Gate):
					t.Errorf("got selector %v and gates %v", pod.Spec.NodeSelector, pod.Spec.SchedulingGates)
				}
			})
		}
	}
	kit.Must(t, s.Scale(s.Ctx, 2))
}

// startStripper makes the apiserver call another webhook, which answers every opted-in pod with the patch, until the test ends.
func (s *suite) startStripper(t *testing.T, name, patch string, again admissionregistrationv1.ReinvocationPolicyType) {
	t.Helper()
	ip := s.Cluster.NodeIP("node-1")
	certificate, err := selfsigned.New(ip)
	kit.Must(t, err)
	listener, err := s.Cluster.Listen("node-1", "tcp", net.JoinHostPort(ip, "0"))
	kit.Must(t, err)
	server := &httptest.Server{
		Listener: listener,
		TLS:      &tls.Config{Certificates: []tls.Certificate{certificate}},
		Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var review admissionv1.AdmissionReview
			if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			kind := admissionv1.PatchTypeJSONPatch
			review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true, Patch: []byte(patch), PatchType: &kind}
			review.Request = nil
			_ = json.NewEncoder(w).Encode(review)
		})},
	}
	server.StartTLS()
	fail, none, scope := admissionregistrationv1.Fail, admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.NamespacedScope
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "stripper.example.com", AdmissionReviewVersions: []string{"v1"}, FailurePolicy: &fail, SideEffects: &none, ReinvocationPolicy: &again,
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				URL: &server.URL, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}),
			},
			ObjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{webhook.Label: "true"}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}, Scope: &scope},
			}},
		}},
	}
	configurations := s.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	_, err = configurations.Create(s.Ctx, configuration, metav1.CreateOptions{})
	kit.Must(t, err)
	t.Cleanup(func() {
		if err := configurations.Delete(context.WithoutCancel(s.Ctx), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
		s.Pause(time.Second) // the apiserver follows
		server.Close()
	})
	s.Pause(time.Second)
}
