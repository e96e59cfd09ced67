package monitoring

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

const (
	floodCallers = 2
	// floodLimit bounds the calls. Some 4000 lines fill the replica's buffer and the pipes behind it.
	floodLimit = 50_000
)

// flood calls one replica directly, as the apiserver does, until stop is called or the limit is reached. Each call is a line of its log.
func (s *suite) flood(t *testing.T, replica corev1.Pod, body []byte) (stop func()) {
	t.Helper()
	client, err := s.ReplicaClient(s.Ctx, replica, floodCallers)
	kit.Must(t, err)
	ctx, cancel := context.WithCancel(s.Ctx)
	calls, ctx := errgroup.WithContext(ctx)
	for range floodCallers {
		calls.Go(func() error {
			for n := 0; n < floodLimit/floodCallers && ctx.Err() == nil; n++ {
				if err := call(ctx, client, body); err != nil && ctx.Err() == nil {
					return fmt.Errorf("call %s: %w", replica.Name, err)
				}
			}
			return nil
		})
	}
	return func() {
		cancel()
		kit.Must(t, calls.Wait())
		client.CloseIdleConnections()
	}
}

func call(ctx context.Context, client *http.Client, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, webhook.ReplicaURL, bytes.NewReader(body))
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
	if err == nil && !bytes.Contains(answer, []byte(`"allowed":true`)) {
		err = fmt.Errorf("%s: %s", response.Status, answer)
	}
	return err
}

// review is the dry run of a pod that is placed, with an annotation of so many bytes.
func review(t *testing.T, size int) []byte {
	t.Helper()
	yes := true
	pod, err := json.Marshal(corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "flood-0", Namespace: namespace, Labels: map[string]string{webhook.Label: "true"},
			Annotations:     map[string]string{webhook.Annotation: rightRule, "example.com/large": strings.Repeat("x", size)},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "flood", UID: "1", Controller: &yes}},
		},
	})
	kit.Must(t, err)
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "00000000-0000-0000-0000-000000000002", Operation: admissionv1.Create, DryRun: &yes, Namespace: namespace, Name: "flood-0",
			Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Object:   runtime.RawExtension{Raw: pod},
		},
	})
	kit.Must(t, err)
	return body
}
