package main

import (
	"encoding/json"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

func TestHandle(t *testing.T) {
	p := &placer{decoder: admission.NewDecoder(clientgoscheme.Scheme)}
	const owned = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%NAME%","creationTimestamp":null,
		"annotations":{"custom-node-selector":"{\"key\":\"name\",\"even\":\"node1\",\"odd\":\"node2\"}"},
		"ownerReferences":[{"apiVersion":"apps/v1","kind":"StatefulSet","name":"db","uid":"1","controller":true}]},
		"spec":{"containers":[{"name":"main","resources":{}}]},"status":{}}`
	for name, tc := range map[string]struct{ pod, want string }{
		"an even ordinal gets the even group": {"db-0", "node1"},
		"an odd ordinal gets the odd group":   {"db-7", "node2"},
	} {
		t.Run(name, func(t *testing.T) {
			var pod corev1.Pod
			if err := json.Unmarshal([]byte(owned), &pod); err != nil {
				t.Fatal(err)
			}
			pod.Name = tc.pod
			raw, err := json.Marshal(pod)
			if err != nil {
				t.Fatal(err)
			}
			got := p.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Object: runtime.RawExtension{Raw: raw}}})
			if !got.Allowed || len(got.Patches) != 1 || got.Patches[0].Path != "/spec/nodeSelector" {
				t.Fatalf("got %+v, want one patch of /spec/nodeSelector", got)
			}
			if value, _ := got.Patches[0].Value.(map[string]any); value["name"] != tc.want {
				t.Errorf("got %v, want name=%s", got.Patches[0].Value, tc.want)
			}
		})
	}
}
