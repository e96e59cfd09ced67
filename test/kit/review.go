package kit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"sts-mutating-webhook/test/webhook"
)

// Review is what the apiserver sends to the webhook when a pod is created.
func Review(t *testing.T, namespace string, pod *corev1.Pod, dryRun bool) []byte {
	t.Helper()
	object, err := json.Marshal(pod)
	Must(t, err)
	review, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "00000000-0000-0000-0000-000000000002", Operation: admissionv1.Create, DryRun: &dryRun, Namespace: namespace, Name: pod.Name,
			Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Object:   runtime.RawExtension{Raw: object},
		},
	})
	Must(t, err)
	return review
}

// PostReview calls a replica, with a client of ReplicaClient. Another answer than that the pod is allowed, or not, is an error.
func PostReview(ctx context.Context, client *http.Client, review []byte, allowed bool) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, webhook.ReplicaURL, bytes.NewReader(review))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if want := fmt.Sprintf(`"allowed":%t`, allowed); response.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(want)) {
		return fmt.Errorf("call replica: got %s: %s, want %s", response.Status, answer, want)
	}
	return nil
}
