package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	testclock "k8s.io/utils/clock/testing"

	"sts-mutating-webhook/internal/alert"
	"sts-mutating-webhook/internal/alert/dingtalktest"
	"sts-mutating-webhook/internal/mutator"
	"sts-mutating-webhook/internal/placement"
	"sts-mutating-webhook/internal/validator"
)

const denialsGolden = "testdata/denials.golden"

// denialCase is a pod that is denied. All pods are web-1 of StatefulSet web unless they say otherwise.
type denialCase struct {
	reason, code string
	// annotation is the rule, of which the StatefulSet is checked, too.
	annotation string
	// pod is used if there is no annotation.
	pod string
}

const (
	optedIn  = `"labels":{"ab-build-different":"true"}`
	ownedWeb = `"ownerReferences":[{"apiVersion":"apps/v1","kind":"StatefulSet","name":"web","uid":"u","controller":true}]`
)

var denialCases = []denialCase{
	{reason: mutator.ReasonPodMalformed, pod: `{"metadata":{"name":"web-1",` + optedIn + `,` + ownedWeb + `},"spec":{"nodeSelector":7}}`},
	{reason: mutator.ReasonPodUnnamed, pod: `{"metadata":{"generateName":"web-",` + optedIn + `,` + ownedWeb + `}}`},
	{reason: mutator.ReasonNameInvalid, pod: `{"metadata":{"name":"Web_1",` + optedIn + `,` + ownedWeb + `}}`},
	{reason: mutator.ReasonNoStatefulSet, pod: `{"metadata":{"name":"web-1",` + optedIn + `}}`},
	{reason: mutator.ReasonOrdinalInvalid, pod: `{"metadata":{"name":"web-01",` + optedIn + `,` + ownedWeb + `}}`},
	{reason: mutator.ReasonPodIndexMismatch, pod: `{"metadata":{"name":"web-1","labels":{"ab-build-different":"true","apps.kubernetes.io/pod-index":"2"},` + ownedWeb + `}}`},
	{reason: mutator.ReasonAnnotationMissing, pod: `{"metadata":{"name":"web-1",` + optedIn + `,` + ownedWeb + `}}`},
	{reason: mutator.ReasonAnnotationMalformed, code: mutator.CodeNotJSON, annotation: `key=name`},
	{code: placement.CodeNotObject, annotation: `"name"`},
	{code: placement.CodeNoRule, annotation: `[]`},
	{code: placement.CodeFieldUnknown, annotation: `{"key": "name", "evn": "node1", "odd": "node2"}`},
	{code: placement.CodeFieldMissing, annotation: `{"key": "name", "even": "node1"}`},
	{code: placement.CodeFieldRepeated, annotation: `{"key": "name", "key": "name", "even": "node1", "odd": "node2"}`},
	{code: placement.CodeFieldNotString, annotation: `{"key": "name", "even": 1, "odd": 2}`},
	{code: placement.CodeFieldWrongType, annotation: `{"key": "zone", "values": "a,b,c"}`},
	{code: placement.CodeFieldEmpty, annotation: `{"key": "zone", "values": []}`},
	{code: placement.CodeFieldInvalid, annotation: `{"key": "name", "even": "node 1", "odd": "node2"}`},
	{code: placement.CodeFieldConflict, annotation: `{"key": "zone", "values": ["a", "b"], "default": "c"}`},
	{code: placement.CodeKeyRepeated, annotation: `[{"key": "zone", "values": ["a"]}, {"key": "zone", "values": ["b"]}]`},
	{code: placement.CodeOverlap, annotation: `{"key": "disk", "ordinals": {"0-2": "nvme", "2,5": "ssd"}}`},
	{code: placement.CodeTooLarge, annotation: `{"key": "zone", "values": ["a"` + strings.Repeat(`, "a"`, placement.MaxValues) + `]}`},
	{code: placement.CodeNoValue, annotation: `{"key": "disk", "ordinals": {"0": "nvme"}}`},
}

// Every denial, in every language in which somebody may read it. Run with -update to write it.
func TestDenialsInEveryLanguage(t *testing.T) {
	var text strings.Builder
	seen := map[string]bool{}
	for _, c := range denialCases {
		if c.reason == "" {
			c.reason = mutator.ReasonAnnotationInvalid
		}
		seen[c.reason], seen[c.code] = true, true
		text.WriteString(c.section(t))
	}
	for _, name := range slices.Concat(mutator.Reasons(), mutator.Codes()) {
		if !seen[name] {
			t.Errorf("no case is denied for %s", name)
		}
	}
	if *update {
		if err := os.WriteFile(denialsGolden, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(denialsGolden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", denialsGolden, diff)
	}
}

// section is what is said of the case.
func (c denialCase) section(t *testing.T) string {
	t.Helper()
	title, input, pod := c.reason, c.annotation, c.pod
	if c.code != "" {
		title += ", " + c.code
	}
	if c.annotation != "" {
		pod = fmt.Sprintf(`{"metadata":{"name":"web-1",%s,"annotations":{"custom-node-selector":%s},%s}}`, optedIn, quoted(t, c.annotation), ownedWeb)
	} else {
		input = c.pod
	}
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n%s\n\n", title, shortened(input))
	denial, status := denyPod(t, pod)
	if c.reason != mutator.ReasonNameInvalid && (denial == nil || denial.Reason != c.reason || denial.Problem.Code != c.code) {
		t.Fatalf("%s: got denial %+v", title, denial)
	}
	// kube-apiserver puts the webhook's name before it, for whoever creates the pod: mostly for the StatefulSet controller.
	fmt.Fprintf(&b, "Pod, as kube-apiserver answers:\nadmission webhook \"sts-webhook.custom-system.svc\" denied the request: %s\n\n", status)
	if c.annotation != "" {
		fmt.Fprintf(&b, "StatefulSet, as kubectl apply prints:\nThe StatefulSet \"web\" is invalid: %s\n\n", refuseSet(t, c.annotation))
	}
	if denial == nil {
		return b.String() + "No alert: whoever creates such a pod could write to the group by its name.\n\n"
	}
	for _, language := range []string{"en", "zh"} {
		fmt.Fprintf(&b, "Alert, %s:\n%s\n\n", language, alertOf(t, *denial, language))
	}
	return b.String()
}

// shortened leaves out the middle of what is too long to read.
func shortened(text string) string {
	const part = 100
	if len(text) <= 3*part {
		return text
	}
	return text[:part] + " ... " + text[len(text)-part:]
}

func quoted(t *testing.T, text string) string {
	t.Helper()
	encoded, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// denials keeps the last one.
type denials struct{ last *mutator.Denial }

func (d *denials) Placed(mutator.Placement) {}
func (d *denials) Denied(x mutator.Denial)  { d.last = &x }

// denyPod returns what the observer gets, nil if nothing, and the message of the answer.
func denyPod(t *testing.T, pod string) (*mutator.Denial, string) {
	t.Helper()
	var seen denials
	review := `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"group":"","version":"v1","kind":"Pod"},` +
		`"resource":{"group":"","version":"v1","resource":"pods"},"namespace":"shop","operation":"CREATE","object":` + pod + `}}`
	h := mutator.NewHandler(mutator.Settings{}, &seen, io.Discard, logr.Discard(), nil)
	answer := answerOf(t, func(reply func(int, []byte)) { h.Handle([]byte(review), reply) })
	return seen.last, answer.Result.Message
}

// refuseSet returns the message for a StatefulSet of two pods with the annotation.
func refuseSet(t *testing.T, annotation string) string {
	t.Helper()
	set := fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"web","namespace":"shop"},"spec":{"replicas":2,"template":{"metadata":{%s,`+
		`"annotations":{"custom-node-selector":%s}}}}}`, optedIn, quoted(t, annotation))
	review := `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"group":"apps","version":"v1","kind":"StatefulSet"},` +
		`"name":"web","namespace":"shop","operation":"CREATE","object":` + set + `}}`
	h := validator.NewHandler(validator.Settings{}, logr.Discard(), nil)
	return answerOf(t, func(reply func(int, []byte)) { h.Handle([]byte(review), reply) }).Result.Message
}

// answerOf returns the refusal that a handler replies.
func answerOf(t *testing.T, handle func(reply func(int, []byte))) *admissionv1.AdmissionResponse {
	t.Helper()
	var review admissionv1.AdmissionReview
	handle(func(_ int, answer []byte) {
		if err := json.Unmarshal(answer, &review); err != nil {
			t.Fatalf("read answer %q: %v", answer, err)
		}
	})
	if review.Response == nil || review.Response.Allowed || review.Response.Result == nil {
		t.Fatalf("got the answer %+v, want a refusal", review.Response)
	}
	return review.Response
}

// alertOf returns the message that a robot gets for the denial.
func alertOf(t *testing.T, d mutator.Denial, language string) string {
	t.Helper()
	robot := dingtalktest.New(dingtalktest.Options{Token: token})
	server := httptest.NewServer(robot)
	defer server.Close()
	url := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(url, []byte(server.URL+"/robot/send?access_token="+token), 0o600); err != nil {
		t.Fatal(err)
	}
	clock := testclock.NewFakeClock(time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC))
	notifier, err := alert.New(alert.Options{
		URLFile: url, RobotsDir: t.TempDir(), AllowHTTP: true, MessageType: "text", Language: language, AlertOn: alert.DefaultAlertOn,
		Clock: clock, Log: logr.Discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	events{notifier: notifier}.Denied(d)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- notifier.Start(ctx) }()
	for begin := time.Now(); len(robot.Messages()) == 0 && time.Since(begin) < 10*time.Second; time.Sleep(time.Millisecond) {
		clock.Step(time.Second)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	messages := robot.Messages()
	if len(messages) != 1 {
		t.Fatalf("%d messages about %s, want 1", len(messages), d.Reason)
	}
	return string(bytes.TrimSpace([]byte(messages[0].Text)))
}

// What an alert shows to copy must be right.
func TestExamplesOfAlertsAreRules(t *testing.T) {
	golden, err := os.ReadFile("testdata/denials.golden")
	if err != nil {
		t.Fatal(err)
	}
	forms := map[string]bool{}
	for line := range strings.Lines(string(golden)) {
		if !strings.HasPrefix(line, `{"key":"`) {
			continue
		}
		rules, err := placement.Parse([]byte(line))
		if err != nil {
			t.Errorf("%s: %v", strings.TrimSpace(line), err)
			continue
		}
		forms[rules[0].Form()] = true
	}
	if len(forms) < 3 {
		t.Errorf("examples of the forms %v, want at least 3 of them", forms)
	}
}
