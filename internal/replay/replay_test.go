package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sts-mutating-webhook/internal/mutator"
)

const (
	parity   = `{"key":"name","even":"node1","odd":"node2"}`
	added    = `[{"op":"add","path":"/spec/nodeSelector","value":{"name":"node1"}}]`
	replaced = `[{"op":"replace","path":"/spec/nodeSelector/name","value":"node1"}]`
	refusal  = `admission webhook "sts-webhook.custom-system.svc" denied the request: because`
)

// sent is the pod web-0 as the StatefulSet controller sends it; labels and spec are JSON members.
func sent(labels, rule, spec string) string {
	return fmt.Sprintf(`{"metadata":{"name":"web-0","labels":{%s},"annotations":{"custom-node-selector":%q},"ownerReferences":[
		{"apiVersion":"apps/v1","kind":"StatefulSet","name":"web","controller":true}]},"spec":{%s}}`, labels, rule, spec)
}

// recorded is an event in the making.
type recorded struct {
	verb, stage, resource, subresource, object, message string
	code                                                int
	annotations                                         map[string]string
}

// call records that a webhook was called, and its patch if that is not empty.
func (r recorded) call(round, index int, name, patch string) recorded {
	place := fmt.Sprintf("round_%d_index_%d", round, index)
	annotations := map[string]string{mutationPrefix + place: fmt.Sprintf(`{"configuration":"c","webhook":%q,"mutated":%t}`, name, patch != "")}
	if patch != "" {
		annotations[patchPrefix+place] = fmt.Sprintf(`{"configuration":"c","webhook":%q,"patch":%s,"patchType":"JSONPatch"}`, name, patch)
	}
	for key, value := range r.annotations {
		annotations[key] = value
	}
	r.annotations = annotations
	return r
}

func (r recorded) with(key, value string) recorded {
	r.annotations = map[string]string{key: value}
	return r
}

// line is the event as kube-apiserver writes it.
func (r recorded) line(t *testing.T) string {
	t.Helper()
	e := map[string]any{
		"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Request", "auditID": "id", "stage": r.stage, "verb": r.verb,
		"requestReceivedTimestamp": "2026-01-02T03:04:05.000000Z", "annotations": r.annotations,
		"objectRef":      map[string]string{"resource": r.resource, "subresource": r.subresource, "namespace": "shop", "apiVersion": "v1"},
		"responseStatus": map[string]any{"message": r.message, "code": r.code},
	}
	if r.object != "" {
		e["requestObject"] = json.RawMessage(r.object)
	}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

// creation is the event of a pod that was created.
func creation(object string) recorded {
	return recorded{verb: "create", stage: "ResponseComplete", resource: "pods", object: object}
}

// replayed reads a log, and returns its changes in short.
func replayed(t *testing.T, s mutator.Settings, log string) (*Replayer, []string) {
	t.Helper()
	r := New(s)
	var changes []string
	err := r.Read("log", strings.NewReader(log), func(c *Change) {
		changes = append(changes, fmt.Sprintf("%s/%s %s -> %s", c.Namespace, c.Pod, &c.From, &c.To))
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, changes
}

func TestEachLineIsOfOneClass(t *testing.T) {
	const optIn = `"ab-build-different":"true"`
	web := creation(sent(optIn, parity, ``))
	ours := web.call(0, 0, webhook, added)
	for sentence, c := range map[string]struct {
		event recorded
		want  Class
		also  []string // changes
	}{
		"a decision that stays":                {ours, Decided, nil},
		"another value":                        {web.call(0, 0, webhook, strings.ReplaceAll(added, "node1", "node9")), Decided, []string{"shop/web-0 name=node9 -> name=node1"}},
		"a pod that was let through unchanged": {web.call(0, 0, webhook, ""), Decided, []string{"shop/web-0 <none> -> name=node1"}},
		"a denial that is one no more":         {func() recorded { r := web.call(0, 0, webhook, ""); r.message = refusal; return r }(), Decided, []string{"shop/web-0 <denied> -> name=node1"}},
		"a denial that is new":                 {creation(sent(optIn, `{}`, ``)).call(0, 0, webhook, added), Decided, []string{"shop/web-0 name=node1 -> <denied>"}},
		"a denial with another text": {func() recorded {
			r := creation(sent(optIn, `{}`, ``)).call(0, 0, webhook, "")
			r.message = refusal
			return r
		}(), Decided, nil},
		"a preference in place of a requirement": {creation(sent(optIn, `{"key":"name","values":["node1"],"whenUnsatisfiable":"ScheduleAnyway"}`, ``)).call(0, 0, webhook, added), Decided, []string{"shop/web-0 name=node1 -> preferred name=node1"}},
		"a toleration that is new":               {creation(sent(optIn, `{"key":"name","values":["node1"],"tolerate":"NoSchedule"}`, ``)).call(0, 0, webhook, added), Decided, []string{"shop/web-0 name=node1 -> name=node1, tolerates name=node1:NoSchedule"}},
		"an entry that another webhook added":    {web.call(0, 0, "a", `[{"op":"add","path":"/spec/nodeSelector","value":{"name":"x","os":"linux"}}]`).call(0, 1, webhook, replaced), Decided, nil},
		"an opt-in that another webhook added":   {creation(sent(`"a":"b"`, parity, ``)).call(0, 0, "a", `[{"op":"add","path":"/metadata/labels/ab-build-different","value":"true"}]`).call(0, 1, webhook, added), Decided, nil},
		"what a later webhook added is not ours": {ours.call(0, 1, "b", `[{"op":"add","path":"/spec/nodeSelector/name","value":"x"}]`), Decided, nil},
		"what another one did to containers":     {web.call(0, 0, "a", `[{"op":"replace","path":"/spec/containers/7/image","value":"x"},{"op":"test","path":"/spec","value":1}]`).call(0, 1, webhook, added), Decided, nil},
		"a second call repairs":                  {web.call(0, 0, webhook, "").call(1, 0, webhook, added), Decided, nil},
		"an entry that a plugin added":           {web.call(0, 0, webhook, replaced), Decided, nil},
		"a toleration behind those of a plugin":  {creation(sent(optIn, `{"key":"name","values":["node1"],"tolerate":"NoSchedule"}`, ``)).call(0, 0, webhook, added[:len(added)-1]+`,{"op":"add","path":"/spec/tolerations/-","value":{"key":"name","operator":"Equal","value":"node1","effect":"NoSchedule"}}]`), Decided, nil},
		"a name to be generated": {func() recorded {
			r := creation(strings.Replace(sent(optIn, parity, ``), `"name"`, `"generateName"`, 1)).call(0, 0, webhook, added)
			return r
		}(), Decided, []string{"shop/web-0 name=node1 -> <denied>"}},
		"a pod that did not opt in":    {creation(sent(`"a":"b"`, parity, ``)), NotCalled, nil},
		"one that did, without a call": {web.call(0, 0, "a", added), OptedInNotCalled, nil},
		"one that was refused before":  {func() recorded { r := web; r.code = 403; return r }(), NotCalled, nil},
		"a call that failed": {func() recorded {
			r := web.call(0, 0, webhook, "")
			r.message = `Internal error occurred: failed calling webhook "sts-webhook.custom-system.svc": EOF`
			return r
		}(), CallFailed, nil},
		"a call that failed and was ignored":      {web.with(failedOpenPrefix+"round_0_index_0", webhook).call(0, 0, webhook, ""), CallFailed, nil},
		"a pod behind the gate":                   {web.call(0, 0, gated, added), Decided, nil},
		"one whose call failed":                   {web.with(failedOpenPrefix+"round_0_index_0", gated).call(0, 0, gated, ""), CallFailed, nil},
		"a call of another webhook that failed":   {web.with(failedOpenPrefix+"round_0_index_1", "b").call(0, 0, webhook, added), Decided, nil},
		"an event without the pod":                {creation("").call(0, 0, webhook, ""), NoObject, nil},
		"an event that was truncated":             {creation("").with(truncatedKey, "true").call(0, 0, webhook, ""), Truncated, nil},
		"a server-side apply":                     {func() recorded { r := ours; r.verb = "patch"; return r }(), Applied, nil},
		"a patch that builds upon the unknown":    {web.call(0, 0, "a", `[{"op":"replace","path":"/spec/tolerations/3","value":{}}]`).call(0, 1, webhook, added), Irreproducible, nil},
		"a patch with an index that is no list's": {web.call(0, 0, "a", `[{"op":"add","path":"/spec/tolerations/1000","value":{}}]`).call(0, 1, webhook, added), Irreproducible, nil},
		"an annotation that cannot be read":       {web.with(mutationPrefix+"round_x", "{}").call(0, 0, webhook, added), Irreproducible, nil},
		"a binding":                               {func() recorded { r := creation(`{"target":{}}`); r.subresource = "binding"; return r }(), OtherRequest, nil},
		"the beginning of the request":            {func() recorded { r := ours; r.stage = "RequestReceived"; return r }(), OtherRequest, nil},
		"a deletion":                              {func() recorded { r := creation(""); r.verb = "delete"; return r }(), OtherRequest, nil},
		"the creation of something that names pods": {func() recorded {
			r := creation(`{"metadata":{"name":"pods"}}`)
			r.resource = "configmaps"
			r.object = `{"kind":"pods"}`
			return r
		}(), OtherRequest, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			r, changes := replayed(t, mutator.Settings{}, c.event.line(t))
			if diff := cmp.Diff(map[Class]int{c.want: 1}, r.Counts); diff != "" {
				t.Errorf("classes differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.also, changes); diff != "" || r.Changed != len(c.also) {
				t.Errorf("changes differ (-want +got), %d counted:\n%s", r.Changed, diff)
			}
		})
	}
}

func TestTheFlagsDecide(t *testing.T) {
	const optIn = `"ab-build-different":"true"`
	own := creation(sent(optIn, parity, `"nodeSelector":{"os":"linux"}`)).call(0, 0, webhook, `[{"op":"add","path":"/spec/nodeSelector/name","value":"node1"}]`).line(t)
	orphan := creation(strings.Replace(sent(optIn, parity, ``), "StatefulSet", "Job", 1)).call(0, 0, webhook, added).line(t)
	for sentence, c := range map[string]struct {
		settings mutator.Settings
		log      string
		want     []string
	}{
		"merge keeps":                   {mutator.Settings{}, own, nil},
		"replace drops":                 {mutator.Settings{ReplaceExisting: true}, own, []string{"shop/web-0 name=node1,os=linux -> name=node1"}},
		"without a default StatefulSet": {mutator.Settings{}, orphan, []string{"shop/web-0 name=node1 -> <denied>"}},
		"with one":                      {mutator.Settings{DefaultStatefulSet: "web"}, orphan, nil},
	} {
		if _, got := replayed(t, c.settings, c.log); !cmp.Equal(c.want, got) {
			t.Errorf("%s: got %q, want %q", sentence, got, c.want)
		}
	}
}

func TestLinesThatAreNoEvents(t *testing.T) {
	web := creation(sent(`"ab-build-different":"true"`, parity, ``)).call(0, 0, webhook, strings.ReplaceAll(added, "node1", "node9")).line(t)
	log := "\n" + web + "I1124 not JSON }\n" + web[:len(web)/2] + "\n" + `{"kind":"Event","apiVersion":"v1","reason":"\"pods\" \"create\"","x":"pods" ,"y":"create"}` + "\n" + strings.TrimSpace(web) + "\n\n" +
		strings.ReplaceAll(strings.Repeat("x", 3<<20), "x", "long") + "\n" + strings.TrimSpace(web)
	r := New(mutator.Settings{})
	r.maxLine = 1 << 20
	changes := 0
	if err := r.Read("log", strings.NewReader(log), func(*Change) { changes++ }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[Class]int{Decided: 3, NoEvent: 3, TooLong: 1}, r.Counts); diff != "" || changes != 3 {
		t.Errorf("got %d changes; classes differ (-want +got):\n%s", changes, diff)
	}
	if diff := cmp.Diff(map[Class]string{Decided: "log:2", NoEvent: "log:3", TooLong: "log:8"}, r.First); diff != "" {
		t.Errorf("places differ (-want +got):\n%s", diff)
	}
	if cap(r.line) > 2<<20 {
		t.Errorf("a long line took %d bytes of memory, want at most twice the bound", cap(r.line))
	}
}

func TestSummary(t *testing.T) {
	r := New(mutator.Settings{})
	for class := Decided; class <= TooLong; class++ {
		r.Counts[class], r.First[class] = 1, "a.log:7"
	}
	r.Counts[Decided], r.Counts[NotCalled] = 12345, 1234567
	if got, want := r.Result(), "0 of 12,345 decisions change"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	want := []string{
		"passed over: 1,234,567 pods that did not opt in, or were refused before the webhook was called",
		"passed over: 1 opted-in pods for which the webhook was not called: its configuration was missing, or leaves out their namespace",
		"passed over: 1 calls of the webhook that failed",
		"passed over: 1 decisions without the pod: create pods with an audit policy of level Request (first at a.log:7)",
		"passed over: 1 decisions whose event was truncated: start kube-apiserver with a larger --audit-log-truncate-max-event-size (first at a.log:7)",
		"passed over: 1 pods created by a server-side apply, of which the log holds only the patch (first at a.log:7)",
		"passed over: 1 decisions about pods that other webhooks changed in a way that cannot be repeated (first at a.log:7)",
		"passed over: 1 lines that are no audit event of audit.k8s.io/v1, or only a part of one (first at a.log:7)",
		"passed over: 1 lines of more than 32 MiB (first at a.log:7)",
	}
	if diff := cmp.Diff(want, r.PassedOver()); diff != "" {
		t.Errorf("lines differ (-want +got):\n%s", diff)
	}
}

// The lines were recorded by test/e2e -record on a real kube-apiserver.
func TestRecordedDecisionsStay(t *testing.T) {
	log, err := os.ReadFile("testdata/audit.log")
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Count(log, []byte("\n"))
	r, changes := replayed(t, mutator.Settings{}, string(log))
	if diff := cmp.Diff(map[Class]int{Decided: lines}, r.Counts); diff != "" || changes != nil || lines < 8 {
		t.Errorf("got %d lines, changes %q, want none; classes differ (-want +got):\n%s", lines, changes, diff)
	}
	altered := strings.ReplaceAll(string(log), `\"value\":{\"name\":\"node1\"}`, `\"value\":{\"name\":\"node9\"}`)
	if _, changes := replayed(t, mutator.Settings{}, altered); len(changes) == 0 || !strings.Contains(changes[0], "name=node9 -> name=node1") {
		t.Errorf("with altered patches: got changes %q", changes)
	}
}

func FuzzRead(f *testing.F) {
	if log, err := os.ReadFile("testdata/audit.log"); err == nil {
		for line := range bytes.Lines(log) {
			f.Add(line)
		}
	}
	f.Add([]byte("{\n}\n\n"))
	f.Add([]byte(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"ResponseComplete","verb":"create","objectRef":{"resource":"pods"}}`))
	f.Fuzz(func(t *testing.T, log []byte) {
		r := New(mutator.Settings{})
		r.maxLine = 64 << 10
		changes := 0
		if err := r.Read("log", bytes.NewReader(log), func(c *Change) { changes++ }); err != nil {
			t.Fatal(err)
		}
		lines, counted := 0, 0
		for line := range bytes.Lines(log) {
			if len(bytes.TrimSpace(line)) > 0 || len(line) > r.maxLine {
				lines++
			}
		}
		for _, n := range r.Counts {
			counted += n
		}
		if counted != lines || changes != r.Changed || r.Changed > r.Counts[Decided] {
			t.Errorf("got %d lines in classes %v and %d changes, want %d lines and %d changes", counted, r.Counts, changes, lines, r.Changed)
		}
	})
}

// The shape of -o json is a promise: a change of this list is a change for users.
func TestFieldsOfTheJSONAreKeptAndDocumented(t *testing.T) {
	document, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := Print(&out, "json", []Change{{From: *denied("no"), To: *denied("")}}); err != nil {
		t.Fatal(err)
	}
	const want = `[{"namespace":"","pod":"","time":"","auditID":"","from":{"denied":"no","nodeSelector":{},"tolerations":[],"preferred":[]},` +
		`"to":{"denied":"","nodeSelector":{},"tolerations":[],"preferred":[]}}]`
	var got bytes.Buffer
	if err := json.Compact(&got, []byte(out.String())); err != nil || strings.TrimSpace(got.String()) != want {
		t.Errorf("got %s, error %v, want %s", got.String(), err, want)
	}
	for name := range strings.FieldsSeq("namespace pod time auditID from to denied nodeSelector tolerations preferred") {
		if !strings.Contains(string(document), "`"+name+"`") {
			t.Errorf("docs/commands.md does not name %s", name)
		}
	}
}
