package mutator

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"

	"sts-mutating-webhook/internal/placement"
)

// FuzzAnswer holds what must be true of every answer, whatever the pod says:
// a placed pod has exactly the selector that an independent reading of its name
// and annotation gives, and asking again changes nothing.
func FuzzAnswer(f *testing.F) {
	f.Add("web", "web-1", webRule, "disk", "ssd", true, false)
	f.Add("web", "web-1", webRule, "name", "node2", true, false)
	f.Add("web", "web-1", webRule, "name", "node1", true, true)
	f.Add("web", "web-2", webRule, "disk", "ssd", true, true)
	f.Add("web-01", "web-01-10", slashRule, "example.com/zone", "a", true, false)
	f.Add("web", "web-2147483648", webRule, "", "", false, false)
	f.Add("web", "web-01", webRule, "", "", false, false)
	f.Add("web", "web-1", `[{"key":"zone","values":["a","b"],"tolerate":"NoSchedule"},{"key":"disk","value":"d-$(ordinal)","whenUnsatisfiable":"ScheduleAnyway"}]`, "zone", "a", true, true)
	f.Add("web", "web-1", `{"key":"disk","ordinals":{"0-1":"d"},"whenUnsatisfiable":"ScheduleAnyway"}`, "disk", "x", true, true)
	f.Add("", "-1", `{"key":"a~b","even":"","odd":"\ud83d"}`, "\u2028", "\"", true, false)
	f.Fuzz(func(t *testing.T, statefulSet, name, ruleText, key, value string, hasSelector, replace bool) {
		selector := map[string]string{}
		if hasSelector {
			selector[key] = value
		}
		before := fuzzedPod(t, statefulSet, name, ruleText, selector)
		s := Settings{ReplaceExisting: replace}
		d := admitAndCheckAnswer(t, before, s)
		if d.outcome == denied {
			return
		}
		want := selectorByOracle(t, before)
		if !replace || len(want) == 0 {
			// As encoded: text that is no UTF-8 has changed on the way.
			for k, v := range partsOf(t, before).Spec.NodeSelector {
				if _, ours := want[k]; !ours {
					want[k] = v
				}
			}
		}
		after := before
		if d.outcome == placed {
			after = apply(t, before, d.patch)
		}
		if diff := cmp.Diff(want, partsOf(t, after).Spec.NodeSelector); diff != "" {
			t.Fatalf("selectors differ (-want +got):\n%s%s", diff, before)
		}
		if again := admitAndCheckAnswer(t, after, s); again.outcome != unchanged {
			t.Fatalf("reinvocation got outcome %d, want unchanged: %s", again.outcome, after)
		}
	})
}

func fuzzedPod(t *testing.T, statefulSet, name, ruleText string, selector map[string]string) string {
	t.Helper()
	type object = map[string]any
	spec := object{}
	if len(selector) > 0 {
		spec["nodeSelector"] = selector
	}
	text, err := json.Marshal(object{
		"metadata": object{
			"name": name, "labels": object{optInLabel: "true"}, "annotations": object{annotationKey: ruleText},
			"ownerReferences": []object{{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": statefulSet, "controller": true}},
		},
		"spec": spec,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// partsOf decodes with the standard library what the oracle needs.
func partsOf(t *testing.T, object string) (p narrowPod) {
	t.Helper()
	if err := json.Unmarshal([]byte(object), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// selectorByOracle reads a pod that was allowed by other means than the package
// does. It returns what the rule gives.
func selectorByOracle(t *testing.T, object string) map[string]string {
	t.Helper()
	meta := partsOf(t, object).Metadata
	match := regexp.MustCompile(`^` + regexp.QuoteMeta(meta.OwnerReferences[0].Name) + `-(0|[1-9][0-9]{0,9})$`).FindStringSubmatch(meta.Name)
	if match == nil {
		t.Fatalf("allowed the name %q of StatefulSet %q", meta.Name, meta.OwnerReferences[0].Name)
	}
	text := meta.Annotations["custom-node-selector"]
	var r map[string]string
	if err := json.Unmarshal([]byte(text), &r); err != nil || len(r) != 3 || !strings.Contains(text, "even") {
		return selectorByRules(t, text, match[1])
	}
	parity := "even"
	if (match[1][len(match[1])-1]-'0')%2 == 1 {
		parity = "odd"
	}
	return map[string]string{r["key"]: r[parity]}
}

// selectorByRules reads the newer forms, for which package placement has a fuzz test
// of its own.
func selectorByRules(t *testing.T, text, ordinal string) map[string]string {
	t.Helper()
	rules, err := placement.Parse([]byte(text))
	if err != nil {
		t.Fatalf("allowed the annotation %q: %v", text, err)
	}
	n, err := strconv.ParseInt(ordinal, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	assignments, err := rules.Assign(nil, int32(n))
	if err != nil {
		t.Fatalf("allowed the ordinal %d: %v", n, err)
	}
	selector := map[string]string{}
	for _, a := range assignments {
		if !a.Preferred {
			selector[a.Key] = a.Value
		}
	}
	return selector
}

// admitAndCheckAnswer decides about a pod and checks that the encoded answer
// says the same.
func admitAndCheckAnswer(t *testing.T, object string, s Settings) decision {
	t.Helper()
	r, err := decode([]byte(reviewOf(object)))
	if err != nil {
		t.Fatal(err)
	}
	d := decide(&r, s)
	var answer admissionv1.AdmissionReview
	if err := json.Unmarshal(encode(&r, &d), &answer); err != nil {
		t.Fatal(err)
	}
	a := answer.Response
	hasPatch := a.PatchType != nil
	if a.UID != "u1" || a.Allowed != (d.outcome != denied) || hasPatch != (d.outcome == placed) || string(a.Patch) != string(d.patch) {
		t.Fatalf("answer %+v does not say %+v", a, d)
	}
	if !a.Allowed && (a.Result == nil || a.Result.Message == "" || len(a.Result.Message) > 2000) {
		t.Fatalf("the denial is not explained: %+v", a.Result)
	}
	return d
}

// What the API server's audit log tells about a pod.
func TestAnswersCarryAuditAnnotations(t *testing.T) {
	for sentence, c := range map[string]struct {
		rules, selector string
		want            map[string]string
	}{
		"a pod that is placed":      {webRule, `{}`, map[string]string{"ordinal": "3", "rule": "even/odd", "placement": "name=node2"}},
		"a pod that is right":       {webRule, `{"name":"node2"}`, map[string]string{"ordinal": "3", "rule": "even/odd", "placement": "name=node2"}},
		"a pod with several labels": {`[{"key":"a","values":["x"]},{"key":"b","ordinals":{"3":""}},{"key":"c","value":"n-$(ordinal)"}]`, `{}`, map[string]string{"ordinal": "3", "rule": "values,ordinals,value", "placement": "a=x,b=,c=n-3"}},
		"a pod that is denied":      {`{}`, `{}`, map[string]string{"denied": ReasonAnnotationInvalid}},
	} {
		t.Run(sentence, func(t *testing.T) {
			h := NewHandler(Settings{}, nil, io.Discard, logr.Discard(), nil)
			object := fmt.Sprintf(`{"metadata":{"name":"web-3","labels":{%q:"true"},"annotations":{%q:%q},"ownerReferences":[{"apiVersion":"apps/v1","kind":"StatefulSet","name":"web","controller":true}]},"spec":{"nodeSelector":%s}}`,
				optInLabel, annotationKey, c.rules, c.selector)
			if diff := cmp.Diff(c.want, ask(t, h, reviewOf(object)).AuditAnnotations); diff != "" {
				t.Errorf("audit annotations differ (-want +got):\n%s", diff)
			}
		})
	}
	h := NewHandler(Settings{}, nil, io.Discard, logr.Discard(), nil)
	if got := ask(t, h, reviewOf(`{"metadata":{"name":"web-3"}}`)).AuditAnnotations; got != nil {
		t.Errorf("a pod that is none of our business: got %v", got)
	}
}
