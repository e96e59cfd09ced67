package mutator

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/internal/placement"
)

// send gives the handler one body and returns its reply.
func send(t *testing.T, h *Handler, body string) (status int, answer string) {
	t.Helper()
	replies := 0
	h.Handle([]byte(body), func(code int, text []byte) {
		status, answer = code, string(text)
		replies++
	})
	if replies != 1 {
		t.Errorf("got %d replies, want 1", replies)
	}
	return status, answer
}

func newHandler(reg prometheus.Registerer) *Handler {
	return NewHandler(Settings{}, nil, io.Discard, logr.Discard(), reg)
}

// ask sends a review and returns the answer, which must be one.
func ask(t *testing.T, h *Handler, body string) *admissionv1.AdmissionResponse {
	t.Helper()
	status, text := send(t, h, body)
	if status != http.StatusOK {
		t.Fatalf("got HTTP %d: %s", status, text)
	}
	var answer admissionv1.AdmissionReview
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&answer); err != nil {
		t.Fatalf("decode %s: %v", text, err)
	}
	if answer.APIVersion != "admission.k8s.io/v1" || answer.Kind != "AdmissionReview" || answer.Request != nil || answer.Response == nil {
		t.Fatalf("got %s, want an AdmissionReview with a response alone", text)
	}
	return answer.Response
}

func TestAnswers(t *testing.T) {
	h := newHandler(nil)
	jsonPatch := admissionv1.PatchTypeJSONPatch
	for sentence, c := range map[string]struct {
		body string
		want *admissionv1.AdmissionResponse
	}{
		"a pod that is placed gets a patch": {string(goldenReview(t)), &admissionv1.AdmissionResponse{
			UID: "0df28fbd-5f5f-11e8-bc74-36e6bb280816", Allowed: true, PatchType: &jsonPatch,
			Patch: []byte(`[{"op":"add","path":"/spec/nodeSelector","value":{"name":"node2"}}]`),
		}},
		"a pod that is right gets neither patch nor patchType": {
			reviewOf(podJSON(webRule, `{"name":"node2"}`)), &admissionv1.AdmissionResponse{UID: "u1", Allowed: true},
		},
		"a pod without the label is allowed": {
			reviewOf(`{"metadata":{"name":"web-1"},"spec":{}}`), &admissionv1.AdmissionResponse{UID: "u1", Allowed: true},
		},
		"a deletion is allowed": {
			strings.Replace(reviewOf(`null`), "CREATE", "DELETE", 1), &admissionv1.AdmissionResponse{UID: "u1", Allowed: true},
		},
		"a uid is returned as it came": {
			strings.Replace(reviewOf(`{}`), `"u1"`, `"\u0022<\ud83d\ude00\\\n"`, 1), &admissionv1.AdmissionResponse{UID: "\"<\U0001F600\\\n", Allowed: true},
		},
		"wrong content is denied with 422": {reviewOf(podJSON(`{"key":"k"}`, "")), denialOf(422, "Invalid", "web-1", "metadata.annotations[custom-node-selector]",
			`annotation custom-node-selector: field "even" is missing; write `+placement.Example+` in the StatefulSet's pod template`)},
		"a malformed annotation is denied with 400": {reviewOf(podJSON(`{`, "")), denialOf(400, "BadRequest", "web-1", "metadata.annotations[custom-node-selector]",
			`annotation custom-node-selector: it is not valid JSON: read JSON at byte 1: expected a string: unexpected EOF; write `+placement.Example+` in the StatefulSet's pod template`)},
		"a pod that cannot be read is denied with 400": {reviewOf(`{"metadata":{"labels":{"a":1}}}`), denialOf(400, "BadRequest", "", "metadata.labels",
			`the pod cannot be read: read metadata.labels: not a string; create it with a client that sends each field once and with its type`)},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := ask(t, h, c.body)
			got.AuditAnnotations = nil // TestAnswersCarryAuditAnnotations looks at them
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("answers differ (-want +got):\n%s", diff)
			}
		})
	}
}

func denialOf(code int32, reason metav1.StatusReason, pod, field, message string) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{UID: "u1", Result: &metav1.Status{
		Status: "Failure", Code: code, Reason: reason, Message: message,
		Details: &metav1.StatusDetails{Kind: "Pod", Name: pod, Causes: []metav1.StatusCause{
			{Type: "FieldValueInvalid", Message: message, Field: field},
		}},
	}}
}

func TestWhatIsNoReviewGetsAnHTTPError(t *testing.T) {
	h := newHandler(nil)
	review := reviewOf(`{}`)
	for sentence, c := range map[string]struct {
		body, want string
	}{
		"no body":                    {"", `read JSON at byte 0: expected a value: unexpected EOF`},
		"no JSON":                    {"hello", `read JSON at byte 0: expected a value, found 'h'`},
		"something after the review": {review + "{}", `read JSON at byte 241: expected the end of the text, found '{'`},
		"no object":                  {"[]", `read AdmissionReview: not an object`},
		"an older version":           {strings.Replace(review, "io/v1", "io/v1beta1", 1), `read AdmissionReview: got apiVersion "admission.k8s.io/v1beta1", kind "AdmissionReview", want admission.k8s.io/v1, AdmissionReview`},
		"another kind":               {`{"apiVersion":"v1","kind":"Pod"}`, `read AdmissionReview: got apiVersion "v1", kind "Pod", want admission.k8s.io/v1, AdmissionReview`},
		"no uid":                     {strings.Replace(review, "uid", "uud", 1), `read AdmissionReview: request.uid is missing`},
		"an empty uid":               {strings.Replace(review, "u1", "", 1), `read AdmissionReview: request.uid is missing`},
		"a uid twice":                {strings.Replace(review, `"uid":"u1"`, `"uid":"u1","uid":"u2"`, 1), `read request.uid: the member occurs twice`},
	} {
		t.Run(sentence, func(t *testing.T) {
			if status, text := send(t, h, c.body); status != 400 || text != c.want+"\n" {
				t.Errorf("got HTTP %d %q, want 400 %q", status, text, c.want)
			}
		})
	}
}
