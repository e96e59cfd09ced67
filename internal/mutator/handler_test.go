package mutator

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// startServer serves a handler as the program does, its bodies limited to
// 8 KiB, and returns its address.
func startServer(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 8<<10)
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// send makes one request and returns the answer's parts.
func send(t *testing.T, method, url, contentType string, body io.Reader) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// ask sends a review and returns the answer, which must be one.
func ask(t *testing.T, url, body string) *admissionv1.AdmissionResponse {
	t.Helper()
	resp, text := send(t, http.MethodPost, url, "application/json", strings.NewReader(body))
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("got HTTP %d, content type %q: %s", resp.StatusCode, resp.Header.Get("Content-Type"), text)
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
	url := startServer(t, NewHandler(Settings{}, nil, logr.Discard(), nil))
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
			`annotation custom-node-selector: field "even" is missing; write `+example+` in the StatefulSet's pod template`)},
		"a malformed annotation is denied with 400": {reviewOf(podJSON(`{`, "")), denialOf(400, "BadRequest", "web-1", "metadata.annotations[custom-node-selector]",
			`annotation custom-node-selector: it is not valid JSON: read JSON at byte 1: expected a string: unexpected EOF; write `+example+` in the StatefulSet's pod template`)},
		"a pod that cannot be read is denied with 400": {reviewOf(`{"metadata":{"labels":{"a":1}}}`), denialOf(400, "BadRequest", "", "metadata.labels",
			`the pod cannot be read: read metadata.labels: not a string; create it with a client that sends each field once and with its type`)},
	} {
		t.Run(sentence, func(t *testing.T) {
			if diff := cmp.Diff(c.want, ask(t, url, c.body)); diff != "" {
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
	url := startServer(t, NewHandler(Settings{}, nil, logr.Discard(), nil))
	review := reviewOf(`{}`)
	for sentence, c := range map[string]struct {
		method, contentType, body string
		code                      int
		want                      string
	}{
		"a GET":                       {"GET", "", "", 405, `method "GET" is not POST`},
		"a PUT":                       {"PUT", "application/json", review, 405, `method "PUT" is not POST`},
		"no media type":               {"POST", "", review, 415, `content type "" is not application/json`},
		"another media type":          {"POST", "application/vnd.kubernetes.protobuf", review, 415, `content type "application/vnd.kubernetes.protobuf" is not application/json`},
		"a media type that is longer": {"POST", "application/jsonx", review, 415, `content type "application/jsonx" is not application/json`},
		"no body":                     {"POST", "application/json", "", 400, `read JSON at byte 0: expected a value: unexpected EOF`},
		"no JSON":                     {"POST", "application/json", "hello", 400, `read JSON at byte 0: expected a value, found 'h'`},
		"something after the review":  {"POST", "application/json", review + "{}", 400, `read JSON at byte 241: expected the end of the text, found '{'`},
		"no object":                   {"POST", "application/json", "[]", 400, `read AdmissionReview: not an object`},
		"an older version":            {"POST", "application/json", strings.Replace(review, "io/v1", "io/v1beta1", 1), 400, `read AdmissionReview: got apiVersion "admission.k8s.io/v1beta1", kind "AdmissionReview", want admission.k8s.io/v1, AdmissionReview`},
		"another kind":                {"POST", "application/json", `{"apiVersion":"v1","kind":"Pod"}`, 400, `read AdmissionReview: got apiVersion "v1", kind "Pod", want admission.k8s.io/v1, AdmissionReview`},
		"no uid":                      {"POST", "application/json", strings.Replace(review, "uid", "uud", 1), 400, `read AdmissionReview: request.uid is missing`},
		"an empty uid":                {"POST", "application/json", strings.Replace(review, "u1", "", 1), 400, `read AdmissionReview: request.uid is missing`},
		"a uid twice":                 {"POST", "application/json", strings.Replace(review, `"uid":"u1"`, `"uid":"u1","uid":"u2"`, 1), 400, `read request.uid: the member occurs twice`},
		"a body above the limit":      {"POST", "application/json", review + strings.Repeat(" ", 8<<10), 413, `the body is larger than 8192 bytes`},
	} {
		t.Run(sentence, func(t *testing.T) {
			resp, text := send(t, c.method, url, c.contentType, strings.NewReader(c.body))
			if resp.StatusCode != c.code || text != c.want+"\n" {
				t.Errorf("got HTTP %d %q, want %d %q", resp.StatusCode, text, c.code, c.want)
			}
			if allow := resp.Header.Get("Allow"); (allow == "POST") != (c.code == 405) {
				t.Errorf("got Allow %q with HTTP %d", allow, resp.StatusCode)
			}
		})
	}
}

func TestMediaTypeMayHaveParameters(t *testing.T) {
	url := startServer(t, NewHandler(Settings{}, nil, logr.Discard(), nil))
	for _, contentType := range []string{"application/json; charset=utf-8", "Application/JSON"} {
		resp, text := send(t, http.MethodPost, url, contentType, strings.NewReader(reviewOf(`{}`)))
		if resp.StatusCode != http.StatusOK {
			t.Errorf("content type %s: got HTTP %d %s", contentType, resp.StatusCode, text)
		}
	}
}

func TestBodyOfUnknownLengthIsRead(t *testing.T) {
	url := startServer(t, NewHandler(Settings{}, nil, logr.Discard(), nil))
	body := io.MultiReader(strings.NewReader(string(goldenReview(t)))) // hides the length: the client sends chunks
	if resp, text := send(t, http.MethodPost, url, "application/json", body); resp.StatusCode != http.StatusOK {
		t.Errorf("got HTTP %d %s", resp.StatusCode, text)
	}
}
