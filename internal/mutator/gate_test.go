package mutator

import (
	"strings"
	"testing"

	"sts-mutating-webhook/internal/placement"
)

const (
	ourGate   = `{"name":"sts-webhook.custom-system.svc/placement"}`
	otherGate = `{"name":"example.com/quota"}`
)

// labelled is the pod with the label that comes with the gate.
func labelled(object string) string {
	return strings.Replace(object, `"labels":{`, `"labels":{"`+gateLabel+`":"placement",`, 1)
}

// annotated is the pod with one more annotation, which says what it was given.
func annotated(object, placed string) string {
	return strings.Replace(object, `"annotations":{`, `"annotations":{"`+placedKey+`":"`+placed+`",`, 1)
}

// Every patch is applied, and asking again must yield none.
func TestTheGateIsRemovedByThePatchThatPlaces(t *testing.T) {
	const selector, zones = `"nodeSelector":{"name":"node2"}`, `[{"key":"zone","values":["a","b"]},{"key":"a.b/c","value":"n-$(ordinal)","start":1},` + preferRule + `]`
	const affinity = `"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[` + termB + `]}}`
	for sentence, c := range map[string]struct {
		rule, before, placed string // placed: the annotation before; empty is none
		label                bool   // the label that comes with the gate
		after, placedAfter   string // after: empty means that nothing changes
	}{
		"the policy's gate, and its label":           {webRule, `"schedulingGates":[` + ourGate + `]`, "", true, `"schedulingGates":[],` + selector, "web-1: name=node2"},
		"the template's gate":                        {webRule, `"schedulingGates":[` + ourGate + `]`, "", false, `"schedulingGates":[],` + selector, "web-1: name=node2"},
		"a gate before ours stays":                   {webRule, `"schedulingGates":[` + otherGate + `,` + ourGate + `]`, "", true, `"schedulingGates":[` + otherGate + `],` + selector, "web-1: name=node2"},
		"a gate behind ours stays":                   {webRule, `"schedulingGates":[` + ourGate + `,` + otherGate + `]`, "", true, `"schedulingGates":[` + otherGate + `],` + selector, "web-1: name=node2"},
		"ours twice is removed twice":                {webRule, `"schedulingGates":[` + ourGate + `,` + otherGate + `,` + ourGate + `]`, "", true, `"schedulingGates":[` + otherGate + `],` + selector, "web-1: name=node2"},
		"a selector that is right already":           {webRule, selector + `,"schedulingGates":[` + ourGate + `]`, "", true, selector + `,"schedulingGates":[]`, "web-1: name=node2"},
		"several rules; a preference is no promise":  {zones, `"schedulingGates":[` + ourGate + `]`, "", true, `"schedulingGates":[],"nodeSelector":{"zone":"b","a.b/c":"n-2"},` + affinity, "web-1: zone=b a.b/c=n-2"},
		"nothing but a preference":                   {preferRule, `"schedulingGates":[` + ourGate + `]`, "", true, `"schedulingGates":[],` + affinity, "web-1:"},
		"a selector stripped after it was placed":    {webRule, ``, "web-1: name=node2", true, selector, "web-1: name=node2"},
		"an annotation that another webhook changed": {webRule, selector, "web-1: name=x", true, selector, "web-1: name=node2"},
		"an annotation copied from another pod":      {webRule, ``, "web-10: name=node1", true, selector, "web-1: name=node2"},
		"a gate that was stripped":                   {webRule, ``, "", true, selector, "web-1: name=node2"},
		"another gate alone":                         {webRule, `"schedulingGates":[` + otherGate + `]`, "", false, `"schedulingGates":[` + otherGate + `],` + selector, ""},
		"an annotation alone is nobody's":            {webRule, ``, "web-1: name=x", false, selector, "web-1: name=x"},
		"no gates at all":                            {webRule, `"schedulingGates":null`, "", false, `"schedulingGates":null,` + selector, ""},
		"a name that only looks like ours":           {webRule, selector + `,"schedulingGates":[{"Name":"` + placement.Gate + `"}]`, "", false, ``, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			before, want := specJSON(c.rule, c.before), specJSON(c.rule, c.after)
			if c.label {
				before, want = labelled(before), labelled(want)
			}
			if c.placed != "" {
				before = annotated(before, c.placed)
			}
			if c.placedAfter != "" {
				want = annotated(want, c.placedAfter)
			}
			d := admit(t, before, Settings{})
			if c.after == "" {
				if d.outcome != unchanged || d.patch != nil {
					t.Fatalf("got outcome %d and patch %s, want unchanged", d.outcome, d.patch)
				}
				return
			}
			after := apply(t, before, d.patch)
			compareObjects(t, want, after)
			if again := admit(t, after, Settings{}); again.outcome != unchanged || again.patch != nil {
				t.Errorf("reinvocation got outcome %d and patch %s, want unchanged", again.outcome, again.patch)
			}
		})
	}
}

func TestAGateDoesNotSaveAPodThatIsWrong(t *testing.T) {
	const gates = `"schedulingGates":[` + ourGate + `]`
	for sentence, c := range map[string]struct{ object, reason string }{
		"a bad annotation":      {specJSON(`{"key":"name"}`, gates), ReasonAnnotationInvalid},
		"no StatefulSet":        {strings.Replace(specJSON(webRule, gates), `"kind":"StatefulSet"`, `"kind":"ReplicaSet"`, 1), ReasonNoStatefulSet},
		"gates that are none":   {specJSON(webRule, `"schedulingGates":7`), ReasonPodMalformed},
		"a gate that is none":   {specJSON(webRule, `"schedulingGates":[7]`), ReasonPodMalformed},
		"two members for gates": {specJSON(webRule, gates+`,`+gates), ReasonPodMalformed},
	} {
		t.Run(sentence, func(t *testing.T) {
			d := admit(t, c.object, Settings{})
			if d.outcome != denied || d.denial.reason != c.reason {
				t.Errorf("got outcome %d, %+v, want a denial for %s", d.outcome, d.denial, c.reason)
			}
		})
	}
}

// One decision: what becomes of a stored pod is what the webhook would have said,
// unless that takes away from the pod.
func TestAStoredPodIsPlacedAsTheWebhookWould(t *testing.T) {
	const gates = `"schedulingGates":[` + otherGate + `,` + ourGate + `]`
	placement := Placement{
		Owner: Owner{Namespace: "shop", StatefulSet: "web", APIVersion: "apps/v1", UID: "5e7a"}, Pod: "web-1", Ordinal: 1, Revision: "web-5d9",
		Key: "name", Value: "node2",
	}
	for sentence, c := range map[string]struct {
		object   string
		settings Settings
		conflict bool
		denied   string
	}{
		"no selector":                      {object: specJSON(webRule, gates)},
		"entries beside ours":              {object: specJSON(webRule, gates+`,"nodeSelector":{"disk":"ssd"}`)},
		"the right entry":                  {object: specJSON(webRule, gates+`,"nodeSelector":{"name":"node2"}`)},
		"another value of our key":         {object: specJSON(webRule, gates+`,"nodeSelector":{"name":"x"}`), conflict: true},
		"replace, and nothing to replace":  {object: specJSON(webRule, gates), settings: Settings{ReplaceExisting: true}},
		"replace, with entries beside":     {object: specJSON(webRule, gates+`,"nodeSelector":{"disk":"ssd"}`), settings: Settings{ReplaceExisting: true}, conflict: true},
		"replace, with just the right one": {object: specJSON(webRule, gates+`,"nodeSelector":{"name":"node2"}`), settings: Settings{ReplaceExisting: true}},
		"a bad annotation":                 {object: specJSON(`{"key":"name"}`, gates), denied: ReasonAnnotationInvalid},
		"no pod":                           {object: `{"metadata":7}`, denied: ReasonPodMalformed},
		"no JSON":                          {object: `{`, denied: ReasonPodMalformed},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := c.settings.PlaceStored("shop", []byte(c.object))
			if c.denied != "" {
				if got.Denial == nil || got.Denial.Reason != c.denied || got.Denial.Namespace != "shop" || got.Patch != nil || got.Conflict {
					t.Errorf("got %+v, want a denial for %s alone", got, c.denied)
				}
				return
			}
			if got.Placement != placement || got.Denial != nil || got.Conflict != c.conflict || (got.Patch == nil) != c.conflict {
				t.Errorf("got %+v, want conflict %v for %+v", got, c.conflict, placement)
			}
			if want := admit(t, c.object, c.settings).patch; !c.conflict && string(got.Patch) != string(want) {
				t.Errorf("got patch %s, want the webhook's, %s", got.Patch, want)
			}
		})
	}
	foreign := strings.Replace(specJSON(webRule, gates), `"ab-build-different":"true"`, `"ab-build-different":"no"`, 1)
	if got := (Settings{}).PlaceStored("shop", []byte(foreign)); got.Patch != nil || got.Conflict || got.Denial != nil {
		t.Errorf("a pod that did not opt in: got %+v, want nothing", got)
	}
}
