package rollout

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/selfsigned"
)

// testRetryAfter refuses each first call the way internal/server does, once with
// Retry-After and once, as the control, without.
func (s *suite) testRetryAfter(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		retry  bool
	}{
		{"retry-503", http.StatusServiceUnavailable, true},
		{"retry-429", http.StatusTooManyRequests, true},
		{"no-retry-503", http.StatusServiceUnavailable, false},
	} {
		server := s.startStandin(t, time.Minute, func(call int32, out http.ResponseWriter) bool {
			if call > 1 {
				return false
			}
			out.Header().Set("Connection", "close")
			if test.retry {
				out.Header().Set("Retry-After", "1")
			}
			http.Error(out, "this replica is shutting down, try another one", test.status)
			return true
		})
		s.register(t, server, test.name)
		labels := map[string]string{"rollout-test": test.name}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: test.name, Labels: labels}, Spec: kit.PodSpec()}
		// kube-apiserver follows webhook configurations by a watch: until it has seen
		// this one, pods are created without a call.
		var created error
		s.Eventually(t, 10*time.Second, func() error {
			_, created = s.Client.CoreV1().Pods(loadNamespace).Create(s.Ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if server.calls.Load() == 0 {
				return fmt.Errorf("%s: the webhook was never called", test.name)
			}
			return nil
		})
		calls := server.calls.Load()
		switch {
		case test.retry && (created != nil || calls != 2):
			t.Errorf("%s: got %v after %d calls, want a pod after 2", test.name, created, calls)
		case !test.retry && (created == nil || !strings.Contains(created.Error(), "failed calling webhook") || calls != 1):
			t.Errorf("%s: got %v after %d calls, want a failed call after 1", test.name, created, calls)
		}
	}
	if !t.Failed() {
		s.Remark("kube-apiserver repeats a call answered 503 or 429 with `Retry-After: 1`, and the second call creates the pod; " +
			"without the header it refuses the pod after one call.")
	}
}

// standin is a webhook inside this test that allows every pod, in the network of
// the control plane.
type standin struct {
	*httptest.Server
	// calls counts the admission reviews that have come.
	calls atomic.Int32
}

// startStandin serves with before in front of every answer; before returns true
// when it has answered itself. How long connections last is up to net/http.
func (s *suite) startStandin(t *testing.T, idle time.Duration, before func(call int32, w http.ResponseWriter) bool) *standin {
	t.Helper()
	ip := s.Cluster.NodeIP("node-1")
	listener, err := s.Cluster.Listen("node-1", "tcp", net.JoinHostPort(ip, "0"))
	kit.Must(t, err)
	certificate, err := selfsigned.New(ip)
	kit.Must(t, err)
	in := &standin{}
	in.Server = &httptest.Server{Listener: listener, TLS: &tls.Config{Certificates: []tls.Certificate{certificate}}, Config: &http.Server{
		IdleTimeout: idle,
		Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
			var review admissionv1.AdmissionReview
			// The soak sends no reviews; any answer will do.
			if err := json.NewDecoder(r.Body).Decode(&review); err == nil && review.Request != nil {
				review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
			}
			_, _ = io.Copy(io.Discard, r.Body) // or net/http might close the connection
			review.Request = nil
			if !before(in.calls.Add(1), out) {
				out.Header().Set("Content-Type", "application/json")
				_ = json.NewEncoder(out).Encode(review) // the apiserver reports what it does not get
			}
		}),
	}}
	in.StartTLS()
	t.Cleanup(in.Close)
	return in
}

// register sends pods with the label rollout-test=name to the stand-in.
func (s *suite) register(t *testing.T, in *standin, name string) {
	t.Helper()
	fail, none, timeout := registrationv1.Fail, registrationv1.SideEffectClassNone, int32(5)
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: in.Certificate().Raw})
	configuration := &registrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "rollout-" + name},
		Webhooks: []registrationv1.MutatingWebhook{{
			Name: name + ".rollout.test", AdmissionReviewVersions: []string{"v1"}, FailurePolicy: &fail, SideEffects: &none, TimeoutSeconds: &timeout,
			ClientConfig:   registrationv1.WebhookClientConfig{URL: &in.URL, CABundle: bundle},
			ObjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"rollout-test": name}},
			Rules: []registrationv1.RuleWithOperations{{
				Operations: []registrationv1.OperationType{registrationv1.Create},
				Rule:       registrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}
	configurations := s.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	_, err := configurations.Create(s.Ctx, configuration, metav1.CreateOptions{})
	kit.Must(t, err)
	t.Cleanup(func() {
		if err := configurations.Delete(context.WithoutCancel(s.Ctx), configuration.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}
