package mutator

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sts-mutating-webhook/internal/placement"
)

// specJSON is unknownPod with that rule, and with those members first in its spec.
func specJSON(ruleText, members string) string {
	if members != "" {
		members += ","
	}
	return strings.Replace(podJSON(ruleText, ""), `"spec":{`, `"spec":{`+members, 1)
}

const (
	preferRule   = `{"key":"example.com/zone","values":["a","b"],"whenUnsatisfiable":"ScheduleAnyway"}`
	tolerateRule = `{"key":"zone","values":["a","b"],"tolerate":"NoSchedule"}`
	termB        = `{"weight":100,"preference":{"matchExpressions":[{"key":"example.com/zone","operator":"In","values":["b"]}]}}`
	tolerationB  = `{"key":"zone","operator":"Equal","value":"b","effect":"NoSchedule"}`
)

// Every patch is applied, and asking again must yield none.
func TestPatchedSpec(t *testing.T) {
	const nodes = `"preferredDuringSchedulingIgnoredDuringExecution"`
	const both = `[` + preferRule + `,{"key":"disk","values":["hdd","ssd"],"whenUnsatisfiable":"ScheduleAnyway","tolerate":"NoSchedule"}]`
	const termSSD = `{"weight":100,"preference":{"matchExpressions":[{"key":"disk","operator":"In","values":["ssd"]}]}}`
	const tolerationSSD = `{"key":"disk","operator":"Equal","value":"ssd","effect":"NoSchedule"}`
	const several = `[{"key":"zone","values":["a","b"]},` + preferRule + `,{"key":"a.b/c","value":"n-$(ordinal)","start":1}]`
	for sentence, c := range map[string]struct{ rule, before, after string }{
		"a preference makes an affinity":       {preferRule, ``, `"affinity":{"nodeAffinity":{` + nodes + `:[` + termB + `]}}`},
		"a preference fills a null affinity":   {preferRule, `"affinity":null`, `"affinity":{"nodeAffinity":{` + nodes + `:[` + termB + `]}}`},
		"a preference fills an affinity":       {preferRule, `"affinity":{"future":1}`, `"affinity":{"future":1,"nodeAffinity":{` + nodes + `:[` + termB + `]}}`},
		"a preference fills a null list":       {preferRule, `"affinity":{"nodeAffinity":{` + nodes + `:null,"x":{}}}`, `"affinity":{"nodeAffinity":{"x":{},` + nodes + `:[` + termB + `]}}`},
		"a preference fills an empty list":     {preferRule, `"affinity":{"nodeAffinity":{` + nodes + `:[]}}`, `"affinity":{"nodeAffinity":{` + nodes + `:[` + termB + `]}}`},
		"a preference fills a node affinity":   {preferRule, `"affinity":{"nodeAffinity":null}`, `"affinity":{"nodeAffinity":{` + nodes + `:[` + termB + `]}}`},
		"a preference goes to the end":         {preferRule, `"affinity":{"nodeAffinity":{` + nodes + `:[{"weight":1,"x":2.50}]}}`, `"affinity":{"nodeAffinity":{` + nodes + `:[{"weight":1,"x":2.50},` + termB + `]}}`},
		"another weight is another term":       {preferRule, `"affinity":{"nodeAffinity":{` + nodes + `:[` + strings.Replace(termB, "100", "1", 1) + `]}}`, `"affinity":{"nodeAffinity":{` + nodes + `:[` + strings.Replace(termB, "100", "1", 1) + `,` + termB + `]}}`},
		"a narrower term is another":           {preferRule, `"affinity":{"nodeAffinity":{` + nodes + `:[` + strings.Replace(termB, `}]}}`, `}],"future":1}}`, 1) + `]}}`, `"affinity":{"nodeAffinity":{` + nodes + `:[` + strings.Replace(termB, `}]}}`, `}],"future":1}}`, 1) + `,` + termB + `]}}`},
		"a preference that is there stays":     {preferRule, `"affinity" : { "nodeAffinity":{` + nodes + `:[ {"preference":{"matchFields":null,"matchExpressions":[{"values":["b"],"operator":"In","key":"example.com\/zone"}]},"weight":100} ]}}`, ``},
		"two preferences and one toleration":   {both, ``, `"affinity":{"nodeAffinity":{` + nodes + `:[` + termB + `,` + termSSD + `]}},"tolerations":[` + tolerationSSD + `]`},
		"the one that is missing of two":       {both, `"affinity":{"nodeAffinity":{` + nodes + `:[` + termB + `]}},"tolerations":[{}]`, `"affinity":{"nodeAffinity":{` + nodes + `:[` + termB + `,` + termSSD + `]}},"tolerations":[{},` + tolerationSSD + `]`},
		"both of two at the end":               {both, `"affinity":{"nodeAffinity":{` + nodes + `:[{}]}},"tolerations":[` + tolerationSSD + `]`, `"affinity":{"nodeAffinity":{` + nodes + `:[{},` + termB + `,` + termSSD + `]}},"tolerations":[` + tolerationSSD + `]`},
		"a toleration makes a list":            {tolerateRule, ``, `"nodeSelector":{"zone":"b"},"tolerations":[` + tolerationB + `]`},
		"a toleration fills a null list":       {tolerateRule, `"tolerations":null`, `"nodeSelector":{"zone":"b"},"tolerations":[` + tolerationB + `]`},
		"a toleration goes to the end":         {tolerateRule, `"tolerations":[{"operator":"Exists"}]`, `"nodeSelector":{"zone":"b"},"tolerations":[{"operator":"Exists"},` + tolerationB + `]`},
		"another effect is another":            {tolerateRule, `"tolerations":[{"key":"zone","value":"b"}]`, `"nodeSelector":{"zone":"b"},"tolerations":[{"key":"zone","value":"b"},` + tolerationB + `]`},
		"a toleration that is there stays":     {tolerateRule, `"nodeSelector":{"zone":"b"},"tolerations":[{"effect":"NoSchedule","key":"zone","operator":"Equal","value":"b"}]`, ``},
		"an empty operator is Equal":           {tolerateRule, `"nodeSelector":{"zone":"b"},"tolerations":[{"effect":"NoSchedule","key":"zone","operator":"","value":"b","tolerationSeconds":null}]`, ``},
		"several rules go together":            {several, ``, `"nodeSelector":{"zone":"b","a.b/c":"n-2"},"affinity":{"nodeAffinity":{` + nodes + `:[` + termB + `]}}`},
		"several rules among other entries":    {several, `"nodeSelector":{"zone":"x","disk":"ssd"}`, `"nodeSelector":{"zone":"b","disk":"ssd","a.b/c":"n-2"},"affinity":{"nodeAffinity":{` + nodes + `:[` + termB + `]}}`},
		"the one that is missing of several":   {several, `"nodeSelector":{"zone":"b"},"affinity":{"nodeAffinity":{` + nodes + `:[` + termB + `]}}`, `"nodeSelector":{"zone":"b","a.b/c":"n-2"},"affinity":{"nodeAffinity":{` + nodes + `:[` + termB + `]}}`},
		"a preference leaves a selector alone": {preferRule, `"nodeSelector":{"example.com/zone":"x"}`, `"nodeSelector":{"example.com/zone":"x"},"affinity":{"nodeAffinity":{` + nodes + `:[` + termB + `]}}`},
	} {
		t.Run(sentence, func(t *testing.T) {
			before := specJSON(c.rule, c.before)
			d := admit(t, before, Settings{})
			if c.after == "" {
				if d.outcome != unchanged || d.patch != nil {
					t.Fatalf("got outcome %d and patch %s, want unchanged", d.outcome, d.patch)
				}
				return
			}
			onlyAddsAndReplaces(t, d.patch)
			after := apply(t, before, d.patch)
			compareObjects(t, specJSON(c.rule, c.after), after)
			if again := admit(t, after, Settings{}); again.outcome != unchanged || again.patch != nil {
				t.Errorf("reinvocation got outcome %d and patch %s, want unchanged", again.outcome, again.patch)
			}
		})
	}
}

func onlyAddsAndReplaces(t *testing.T, patch []byte) {
	t.Helper()
	var operations []struct{ Op, Path string }
	if err := json.Unmarshal(patch, &operations); err != nil {
		t.Fatalf("%v: %s", err, patch)
	}
	for _, o := range operations {
		if o.Op != "add" && (o.Op != "replace" || !strings.HasPrefix(o.Path, "/spec/nodeSelector")) {
			t.Errorf("the patch holds %s %s", o.Op, o.Path)
		}
	}
}

func TestReplaceMeansTheSameWithSeveralRules(t *testing.T) {
	const several = `[{"key":"zone","values":["a","b"]},` + preferRule + `,{"key":"disk","values":["ssd"]}]`
	const affinity = `"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[` + termB + `]}}`
	replace := Settings{ReplaceExisting: true}
	for sentence, c := range map[string]struct {
		rule, before, after string
		marked              bool
	}{
		"no selector gets all entries":            {several, affinity, `"nodeSelector":{"zone":"b","disk":"ssd"},` + affinity, true},
		"other entries go":                        {several, `"nodeSelector":{"x":"y","zone":"b","disk":"ssd"},` + affinity, `"nodeSelector":{"zone":"b","disk":"ssd"},` + affinity, true},
		"a missing entry comes":                   {several, `"nodeSelector":{"disk":"ssd"},` + affinity, `"nodeSelector":{"zone":"b","disk":"ssd"},` + affinity, true},
		"right entries are only marked":           {several, `"nodeSelector":{"disk":"ssd","zone":"b"},` + affinity, `"nodeSelector":{"zone":"b","disk":"ssd"},` + affinity, true},
		"with nothing to replace by all remains":  {preferRule, `"nodeSelector":{"disk":"ssd"}`, `"nodeSelector":{"disk":"ssd"},` + affinity, false},
		"with nothing to replace by none is made": {preferRule, `"nodeSelector":null`, `"nodeSelector":null,` + affinity, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			before := specJSON(c.rule, c.before)
			d := admit(t, before, replace)
			after := apply(t, before, d.patch)
			want := specJSON(c.rule, c.after)
			if c.marked {
				want = strings.Replace(want, `"annotations":{`, `"annotations":{"`+replacedKey+`":"web-1",`, 1)
			}
			compareObjects(t, want, after)
			if again := admit(t, after, replace); again.outcome != unchanged {
				t.Errorf("reinvocation got outcome %d and patch %s, want unchanged", again.outcome, again.patch)
			}
			// What another webhook adds in between stays.
			more := strings.Replace(after, `"nodeSelector":{`, `"nodeSelector":{"other":"z",`, 1)
			if again := admit(t, more, replace); c.marked && again.outcome != unchanged {
				t.Errorf("after another webhook: got outcome %d and patch %s, want unchanged", again.outcome, again.patch)
			}
		})
	}
}

// A mistake in what only a few rules read is denied only with them.
func TestUnreadableAffinityIsDeniedIfARuleReadsIt(t *testing.T) {
	const nodes = `preferredDuringSchedulingIgnoredDuringExecution`
	for members, c := range map[string]struct{ rule, field, problem string }{
		`"affinity":1`:                                                             {preferRule, `spec.affinity`, `not an object`},
		`"affinity":{},"affinity":{}`:                                              {preferRule, `spec.affinity`, `the member occurs twice`},
		`"affinity":{"nodeAffinity":[]}`:                                           {preferRule, `spec.affinity.nodeAffinity`, `not an object`},
		`"affinity":{"nodeAffinity":{},"nodeAffinity":{}}`:                         {preferRule, `spec.affinity.nodeAffinity`, `the member occurs twice`},
		`"affinity":{"nodeAffinity":{"` + nodes + `":{}}}`:                         {preferRule, `spec.affinity.nodeAffinity.` + nodes, `not an array`},
		`"tolerations":{}`:                                                         {tolerateRule, `spec.tolerations`, `not an array`},
		`"tolerations":[],"tolerations":[]`:                                        {tolerateRule, `spec.tolerations`, `the member occurs twice`},
		`"affinity":{"nodeAffinity":{"` + nodes + `":1,"x":1,"` + nodes + `":[]}}`: {preferRule, `spec.affinity.nodeAffinity.` + nodes, `the member occurs twice`},
	} {
		compareDecisions(t, decision{outcome: denied, statefulSet: "web", denial: &denial{
			reason: ReasonPodMalformed, field: c.field, cause: "FieldValueInvalid",
			message: "the pod cannot be read: read " + c.field + ": " + c.problem + "; create it with a client that sends each field once and with its type",
		}}, admit(t, specJSON(c.rule, members), Settings{}))
		if d := admit(t, specJSON(webRule, members), Settings{}); d.outcome != placed {
			t.Errorf("%s: a rule that does not read it got outcome %d, want placed", members, d.outcome)
		}
	}
}

func TestSeveralRulesAreReportedTogether(t *testing.T) {
	d := admit(t, podJSON(`[{"key":"zone","values":["a","b"]},`+preferRule+`]`, ""), Settings{})
	if d.key != "zone,example.com/zone" || d.value != "b,b" {
		t.Errorf("got key %q and value %q", d.key, d.value)
	}
}

func TestDenialShowsTheFormThatWasMeant(t *testing.T) {
	for text, want := range map[string]string{
		`[{"key":"k","values":["a"]},{"key":"j","values":["a","b",3]}]`: `field "[1].values[2]" is not a string; write ` +
			`{"key": "<node label>", "values": ["<first value>", "<second value>", "<third value>"]}`,
		`{"key":"k","ordinals":{"5-9":"a"}}`: `field "ordinals" has no value for ordinal 1, and there is no "default"; add the ordinal, or a default; write ` +
			`{"key": "<node label>", "ordinals": {"0": "<value>", "1-2,5": "<value>"}, "default": "<value for all others>"}`,
	} {
		d := admit(t, podJSON(text, ""), Settings{})
		if want := "annotation custom-node-selector: " + want + " in the StatefulSet's pod template"; d.outcome != denied || d.denial.message != want || d.denial.reason != ReasonAnnotationInvalid {
			t.Errorf("got %+v, want %s", d.denial, want)
		}
	}
}

// What each form costs, and the largest annotation, which must not make a request
// slow.
func BenchmarkRules(b *testing.B) {
	var sets []string
	for i := range placement.MaxValues {
		sets = append(sets, fmt.Sprintf(`"%d":"a-rather-long-value-for-a-label-%d"`, i, i))
	}
	for name, rule := range map[string]string{
		"parity":   webRule,
		"values":   `{"key":"zone","values":["a","b","c"]}`,
		"ordinals": `{"key":"disk","ordinals":{"0":"nvme","1-2,5":"ssd"},"default":"hdd"}`,
		"value":    `{"key":"host","value":"deb-$(ordinal)","start":1,"tolerate":"NoSchedule"}`,
		"two":      `[` + preferRule + `,` + tolerateRule + `]`,
		"largest":  `{"key":"k","ordinals":{` + strings.Join(sets, ",") + `}}`,
	} {
		body := []byte(reviewOf(podJSON(rule, "")))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				work(b, body)
			}
		})
	}
}
