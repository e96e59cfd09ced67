package mutator

import (
	"encoding/json"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"

	"sts-mutating-webhook/internal/placement"
)

// unknownPod is a pod with members that no typed Pod of today has, and with
// values that typed encoding would change: they must come through untouched.
const unknownPod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-1","labels":{"ab-build-different":"true","controller-revision-hash":"web-5d9"},
	"annotations":{"custom-node-selector":RULE},"ownerReferences":[{"apiVersion":"apps/v1","kind":"StatefulSet","name":"web","uid":"5e7a","controller":true}],
	"future":{"a":[1,2.50,1e3,null,{}]}},"spec":{"nodeSelector":SELECTOR,"containers":[{"name":"c","futureField":"x","resources":null}],
	"futureSpec":[],"priority":9007199254740993},"futureTop":"<&>\u2028"}`

// podJSON returns unknownPod with that rule and that JSON as nodeSelector, or
// none for an empty selector.
func podJSON(ruleText, selector string) string {
	quoted, err := json.Marshal(ruleText)
	if err != nil {
		panic(err)
	}
	text := strings.Replace(unknownPod, "RULE", string(quoted), 1)
	if selector == "" {
		return strings.Replace(text, `"nodeSelector":SELECTOR,`, "", 1)
	}
	return strings.Replace(text, "SELECTOR", selector, 1)
}

// admit runs the whole pure path over a pod.
func admit(t *testing.T, object string, s Settings) decision {
	t.Helper()
	r, err := decode([]byte(reviewOf(object)))
	if err != nil {
		t.Fatal(err)
	}
	return decide(&r, s)
}

const slashRule = `{"key":"example.com/zone","even":"a","odd":"b"}`

func TestPatchedSelector(t *testing.T) {
	merge, replace := Settings{}, Settings{ReplaceExisting: true}
	const mark = `[{"op":"add","path":"/metadata/annotations/sts-webhook.custom-system.svc~1replaced-selector-of","value":"web-1"}`
	for sentence, c := range map[string]struct {
		rule, selector string
		settings       Settings
		want           string // the selector afterwards; empty: no patch
		patch          string
	}{
		"no selector gets one": {webRule, ``, merge, `{"name":"node2"}`,
			`[{"op":"add","path":"/spec/nodeSelector","value":{"name":"node2"}}]`},
		"an empty selector is filled": {webRule, `{}`, merge, `{"name":"node2"}`,
			`[{"op":"add","path":"/spec/nodeSelector","value":{"name":"node2"}}]`},
		"a null selector is filled": {webRule, `null`, merge, `{"name":"node2"}`,
			`[{"op":"add","path":"/spec/nodeSelector","value":{"name":"node2"}}]`},
		"other keys stay": {webRule, `{"disk":"ssd"}`, merge, `{"disk":"ssd","name":"node2"}`,
			`[{"op":"add","path":"/spec/nodeSelector/name","value":"node2"}]`},
		"our key is corrected": {webRule, `{"disk":"ssd","name":"node1"}`, merge, `{"disk":"ssd","name":"node2"}`,
			`[{"op":"replace","path":"/spec/nodeSelector/name","value":"node2"}]`},
		"our key is corrected from null": {webRule, `{"name":null}`, merge, `{"name":"node2"}`,
			`[{"op":"replace","path":"/spec/nodeSelector/name","value":"node2"}]`},
		"a key that differs in case is another": {webRule, `{"Name":"node2"}`, merge, `{"Name":"node2","name":"node2"}`,
			`[{"op":"add","path":"/spec/nodeSelector/name","value":"node2"}]`},
		"a slash in the key is escaped": {slashRule, `{"disk":"ssd"}`, merge, `{"disk":"ssd","example.com/zone":"b"}`,
			`[{"op":"add","path":"/spec/nodeSelector/example.com~1zone","value":"b"}]`},
		"a slash in the key is escaped when it is corrected": {slashRule, `{"example.com/zone":"a"}`, merge, `{"example.com/zone":"b"}`,
			`[{"op":"replace","path":"/spec/nodeSelector/example.com~1zone","value":"b"}]`},
		"a right entry is left alone":                {webRule, `{"disk":"ssd","name":"node2"}`, merge, ``, ``},
		"a right entry with escapes is left alone":   {webRule, `{"n\u0061me":"node\u0032"}`, merge, ``, ``},
		"an empty value that is right is left alone": {`{"key":"k","even":"x","odd":""}`, `{"k":""}`, merge, ``, ``},
		"an empty value is not the same as none": {`{"key":"k","even":"x","odd":""}`, `{"j":""}`, merge, `{"j":"","k":""}`,
			`[{"op":"add","path":"/spec/nodeSelector/k","value":""}]`},
		"replace: no selector gets one": {webRule, ``, replace, `{"name":"node2"}`,
			mark + `,{"op":"add","path":"/spec/nodeSelector","value":{"name":"node2"}}]`},
		"replace: other keys go": {webRule, `{"disk":"ssd"}`, replace, `{"name":"node2"}`,
			mark + `,{"op":"replace","path":"/spec/nodeSelector","value":{"name":"node2"}}]`},
		"replace: other keys go also beside a right entry": {webRule, `{"disk":"ssd","name":"node2"}`, replace, `{"name":"node2"}`,
			mark + `,{"op":"replace","path":"/spec/nodeSelector","value":{"name":"node2"}}]`},
		"replace: a wrong entry is corrected": {slashRule, `{"example.com/zone":"a"}`, replace, `{"example.com/zone":"b"}`,
			mark + `,{"op":"replace","path":"/spec/nodeSelector","value":{"example.com/zone":"b"}}]`},
		"replace: a right selector is only marked": {webRule, `{"name":"node2"}`, replace, `{"name":"node2"}`, mark + `]`},
	} {
		t.Run(sentence, func(t *testing.T) {
			before := podJSON(c.rule, c.selector)
			d := admit(t, before, c.settings)
			if string(d.patch) != c.patch {
				t.Fatalf("got patch %s, want %s", d.patch, c.patch)
			}
			if c.want == "" {
				if d.outcome != unchanged {
					t.Errorf("got outcome %d, want unchanged", d.outcome)
				}
				return
			}
			after := apply(t, before, d.patch)
			want := podJSON(c.rule, c.want)
			if c.settings.ReplaceExisting {
				want = strings.Replace(want, `"annotations":{`, `"annotations":{"`+replacedKey+`":"web-1",`, 1)
			}
			compareObjects(t, want, after)
			again := admit(t, after, c.settings)
			if again.outcome != unchanged || again.patch != nil {
				t.Errorf("reinvocation got outcome %d and patch %s, want unchanged without a patch", again.outcome, again.patch)
			}
		})
	}
}

// A remove takes away what others wrote; a test that fails is an error 500.
func TestPatchHoldsNoRemoveOrTestOp(t *testing.T) {
	for _, selector := range []string{``, `{}`, `null`, `{"a":"b"}`, `{"name":"x"}`, `{"name":"node1","a":"b"}`} {
		for _, s := range []Settings{{}, {ReplaceExisting: true}} {
			var operations []struct{ Op, Path string }
			if err := json.Unmarshal(admit(t, podJSON(webRule, selector), s).patch, &operations); err != nil {
				t.Fatal(err)
			}
			if want := 1; len(operations) != want && !(s.ReplaceExisting && len(operations) == want+1) {
				t.Errorf("selector %s: got %d operations", selector, len(operations))
			}
			for _, o := range operations {
				if o.Op != "add" && o.Op != "replace" {
					t.Errorf("selector %s: the patch holds the op %s", selector, o.Op)
				}
				if !strings.HasPrefix(o.Path, "/spec/nodeSelector") && !(s.ReplaceExisting && o.Path == replacedPointer) {
					t.Errorf("selector %s: the patch touches %s", selector, o.Path)
				}
			}
		}
	}
}

// Not every one of these is a label key: the patch does not rely on it.
func TestPointerIsEscaped(t *testing.T) {
	p := pod{hasSpec: true, selector: selector(`{"a":"b"}`)}
	for key, want := range map[string]string{
		"a/b":  `/spec/nodeSelector/a~1b`,
		"a~b":  `/spec/nodeSelector/a~0b`,
		"~1/":  `/spec/nodeSelector/~01~1`,
		"a\"é": `/spec/nodeSelector/a\"é`,
	} {
		got, _, err := patchFor(&p, Settings{}, []placement.Assignment{{Key: key, Value: "v"}})
		if want := `[{"op":"add","path":"` + want + `","value":"v"}]`; err != nil || string(got) != want {
			t.Errorf("key %q: got patch %s, error %v, want %s", key, got, err, want)
		}
	}
}

func TestPodThatCannotBePatchedIsDenied(t *testing.T) {
	for sentence, c := range map[string]struct{ object, field, problem string }{
		"no spec":       {strings.Replace(podJSON(webRule, ""), `"spec":`, `"notSpec":`, 1), `spec`, `it is missing`},
		"our key twice": {podJSON(webRule, `{"name":"a","name":"b"}`), `spec.nodeSelector`, `the key "name" occurs twice`},
	} {
		t.Run(sentence, func(t *testing.T) {
			compareDecisions(t, decision{outcome: denied, statefulSet: "web", denial: &denial{
				reason: "PodMalformed", field: c.field, cause: "FieldValueInvalid",
				message: "the pod cannot be read: read " + c.field + ": " + c.problem + "; create it with a client that sends each field once and with its type",
			}}, admit(t, c.object, Settings{}))
		})
	}
}

func TestGoldenReviewIsPlaced(t *testing.T) {
	r, err := decode(goldenReview(t))
	if err != nil {
		t.Fatal(err)
	}
	compareDecisions(t, decision{
		outcome: placed, statefulSet: "web", ordinal: 13, key: "name", value: "node2", forms: "even/odd",
		patch: []byte(`[{"op":"add","path":"/spec/nodeSelector","value":{"name":"node2"}}]`),
	}, decide(&r, Settings{}))
}

func apply(t *testing.T, object string, patch []byte) string {
	t.Helper()
	p, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatal(err)
	}
	after, err := p.Apply([]byte(object))
	if err != nil {
		t.Fatal(err)
	}
	return string(after)
}

// compareObjects compares JSON by meaning, numbers by their digits.
func compareObjects(t *testing.T, want, got string) {
	t.Helper()
	parse := func(text string) (v any) {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if diff := cmp.Diff(parse(want), parse(got)); diff != "" {
		t.Errorf("objects differ (-want +got):\n%s", diff)
	}
}

// P11: with reinvocationPolicy IfNeeded the API server asks again after another
// webhook changed the pod.
func TestReplaceKeepsWhatAnotherWebhookAddsAfterIt(t *testing.T) {
	replace := Settings{ReplaceExisting: true}
	for _, selector := range []string{``, `{"disk":"ssd"}`, `{"name":"node2"}`} {
		before := podJSON(webRule, selector)
		after := apply(t, before, admit(t, before, replace).patch)
		changed := apply(t, after, []byte(`[{"op":"add","path":"/spec/nodeSelector/zone","value":"a"}]`))
		if d := admit(t, changed, replace); d.outcome != unchanged || d.patch != nil {
			t.Errorf("selector %s: reinvocation got outcome %d and patch %s, want unchanged", selector, d.outcome, d.patch)
		}
		if d := admit(t, strings.Replace(changed, `"name":"web-1"`, `"name":"web-3"`, 1), replace); d.outcome != placed {
			t.Errorf("selector %s: a copy of it under another name: got outcome %d, want placed", selector, d.outcome)
		}
	}
}
