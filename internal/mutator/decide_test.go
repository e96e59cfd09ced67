package mutator

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sts-mutating-webhook/internal/placement"
)

// webRule is the annotation of the documentation.
const webRule = `{"key": "name", "even": "node1", "odd": "node2"}`

// podOf is an opted-in pod of a StatefulSet of Kubernetes, without a selector.
func podOf(statefulSet, name string) pod {
	return pod{
		name: name, hasSpec: true,
		optIn:      member{value: "true", set: true},
		annotation: []byte(webRule),
		controller: owner{"apps/v1", "StatefulSet", statefulSet, "5e7a"},
	}
}

// creationOf is the request that creates the pod.
func creationOf(p pod) *review {
	return &review{
		uid: "u1", namespace: "shop", operation: "CREATE",
		kind:     groupVersionName{"", "v1", "Pod"},
		resource: groupVersionName{"", "v1", "pods"},
		pod:      p,
	}
}

func TestOrdinalDecidesTheValue(t *testing.T) {
	for sentence, c := range map[string]struct {
		statefulSet, pod string
		ordinal          int32
		value            string
	}{
		"ordinal 0 is even":                                       {"web", "web-0", 0, "node1"},
		"ordinal 1 is odd":                                        {"web", "web-1", 1, "node2"},
		"ordinal 2 is even":                                       {"web", "web-2", 2, "node1"},
		"ordinal 9 is odd":                                        {"web", "web-9", 9, "node2"},
		"ordinal 10 is even":                                      {"web", "web-10", 10, "node1"},
		"the largest ordinal is odd":                              {"web", "web-2147483647", 2147483647, "node2"},
		"an owner that ends in a number keeps it":                 {"db-2", "db-2-1", 1, "node2"},
		"an owner that ends in a leading zero keeps it":           {"web-01", "web-01-4", 4, "node1"},
		"an owner that is a number keeps it":                      {"7", "7-0", 0, "node1"},
		"an owner with dots keeps them":                           {"web.example", "web.example-11", 11, "node2"},
		"an owner whose name repeats in the pod is cut only once": {"web-web", "web-web-5", 5, "node2"},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := decide(creationOf(podOf(c.statefulSet, c.pod)), Settings{})
			want := decision{
				outcome: placed, statefulSet: c.statefulSet, ordinal: c.ordinal, key: "name", value: c.value, forms: "even/odd",
				patch: []byte(`[{"op":"add","path":"/spec/nodeSelector","value":{"name":"` + c.value + `"}}]`),
			}
			compareDecisions(t, want, got)
		})
	}
}

func TestNameWithoutOrdinalIsDenied(t *testing.T) {
	for sentence, c := range map[string]struct{ statefulSet, pod, problem string }{
		"one above the largest ordinal":          {"web", "web-2147483648", `"2147483648" is above 2147483647`},
		"far above the largest ordinal":          {"web", "web-99999999999999999999", `"99999999999999999999" is above 2147483647`},
		"a leading zero":                         {"web", "web-01", `"01" has a leading zero`},
		"a double zero":                          {"web", "web-00", `"00" has a leading zero`},
		"a minus sign":                           {"web", "web--1", `"-1" is not a decimal number`},
		"a hexadecimal number":                   {"web", "web-0x1", `"0x1" is not a decimal number`},
		"the owner's name alone":                 {"web", "web", `its name does not start with "web-"`},
		"another StatefulSet's name":             {"web", "db-1", `its name does not start with "web-"`},
		"an owner that is only the name's start": {"db", "db-2-1", `"2-1" is not a decimal number`},
		"the name of a Deployment's pod":         {"web", "web-6f8d9-x2x4z", `"6f8d9-x2x4z" is not a decimal number`},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := decide(creationOf(podOf(c.statefulSet, c.pod)), Settings{})
			want := decision{outcome: denied, statefulSet: c.statefulSet, denial: &denial{
				reason: "OrdinalInvalid", field: "metadata.name", cause: "FieldValueInvalid",
				message: `pod "` + c.pod + `" has no ordinal in StatefulSet "` + c.statefulSet + `": ` + c.problem +
					`; let the StatefulSet create its pods, or remove the label ab-build-different`,
			}}
			compareDecisions(t, want, got)
		})
	}
}

// P10: the API server refuses such a pod a moment later, so reporting the denial
// would only carry somebody's prose into alerts.
func TestImpossibleNamesAreDeniedAndNotReported(t *testing.T) {
	long := strings.Repeat("x", 252)
	for sentence, c := range map[string]struct{ statefulSet, pod, field string }{
		"prose":                             {"web", "please call 555-1", "metadata.name"},
		"a plus sign":                       {"web", "web-+1", "metadata.name"},
		"an underscore":                     {"web", "web-1_0", "metadata.name"},
		"a space at the end":                {"web", "web-1 ", "metadata.name"},
		"digits that are not ASCII":         {"web", "web-٣", "metadata.name"},
		"a dash at the end":                 {"web", "web-", "metadata.name"},
		"upper case":                        {"web", "Web-1", "metadata.name"},
		"254 bytes":                         {long, long + "-1", "metadata.name"},
		"an empty part":                     {"web", "web..a-1", "metadata.name"},
		"a StatefulSet named in prose":      {"please call", "web-1", "metadata.ownerReferences"},
		"a StatefulSet that ends in a dash": {"web-", "web--3", "metadata.ownerReferences"},
	} {
		t.Run(sentence, func(t *testing.T) {
			d := decide(creationOf(podOf(c.statefulSet, c.pod)), Settings{})
			if d.outcome != denied || d.denial.reason != "NameInvalid" || d.denial.field != c.field || d.statefulSet != "" {
				t.Fatalf("got %+v, denial %+v, want NameInvalid at %s", d, d.denial, c.field)
			}
		})
	}
	for _, name := range []string{"web-1", "7-0", "web.example-11", strings.Repeat("x", 251) + "-1"} {
		if problem := placement.NameProblem(name); problem != "" {
			t.Errorf("%q: got %s, want no problem", name, problem)
		}
	}
	b := newFixture(slog.LevelInfo)
	b.post(strings.Replace(reviewOf(podJSON(webRule, "")), `"web-1"`, `"please call 555-1"`, 1))
	if len(b.observer.denied) != 0 {
		t.Errorf("reported %+v, want nothing", b.observer.denied)
	}
}

func TestOnlyCreatedPodsWithTheLabelAreOurs(t *testing.T) {
	change := func(f func(*review)) *review {
		r := creationOf(podOf("web", "web-1"))
		f(r)
		return r
	}
	for sentence, r := range map[string]*review{
		"no label":                        change(func(r *review) { r.pod.optIn = member{} }),
		"the label is false":              change(func(r *review) { r.pod.optIn.value = "false" }),
		"the label is True":               change(func(r *review) { r.pod.optIn.value = "True" }),
		"the label is empty":              change(func(r *review) { r.pod.optIn.value = "" }),
		"an update":                       change(func(r *review) { r.operation = "UPDATE" }),
		"a deletion, which has no object": change(func(r *review) { r.operation, r.pod = "DELETE", pod{} }),
		"a connection":                    change(func(r *review) { r.operation = "CONNECT" }),
		"no operation":                    change(func(r *review) { r.operation = "" }),
		"a binding of a pod":              change(func(r *review) { r.subresource, r.kind.name = "binding", "Binding" }),
		"an eviction of a pod":            change(func(r *review) { r.subresource, r.kind = "eviction", groupVersionName{"policy", "v1", "Eviction"} }),
		"an ephemeral container":          change(func(r *review) { r.subresource = "ephemeralcontainers" }),
		"another resource":                change(func(r *review) { r.resource.name, r.kind.name = "services", "Service" }),
		"pods of another group":           change(func(r *review) { r.resource.group = "metrics.k8s.io" }),
		"a version of pods yet to come":   change(func(r *review) { r.resource.version = "v2" }),
		"another kind under pods":         change(func(r *review) { r.kind.name = "PodList" }),
		"an unreadable object of no pod":  change(func(r *review) { r.operation, r.podErr = "UPDATE", &fault{"metadata", "not an object"} }),
	} {
		t.Run(sentence, func(t *testing.T) {
			compareDecisions(t, decision{outcome: ignored}, decide(r, Settings{}))
		})
	}
}

func TestOwnerDecidesTheStatefulSet(t *testing.T) {
	const remedy = `; remove the label, or let a StatefulSet create the pod, ` +
		`or start the webhook with --default-statefulset=<name>`
	for sentence, c := range map[string]struct {
		owner      owner
		byDefault  string
		want       string // the StatefulSet; empty: denied
		controller string // what the denial says
	}{
		"Kubernetes' StatefulSet":                      {owner: owner{"apps/v1", "StatefulSet", "web", "5e7a"}, want: "web"},
		"a version of apps yet to come":                {owner: owner{"apps/v2", "StatefulSet", "web", "5e7a"}, want: "web"},
		"OpenKruise's StatefulSet":                     {owner: owner{"apps.kruise.io/v1beta1", "StatefulSet", "web", "5e7a"}, want: "web"},
		"OpenKruise's older StatefulSet":               {owner: owner{"apps.kruise.io/v1alpha1", "StatefulSet", "web", "5e7a"}, want: "web"},
		"a StatefulSet goes before the default":        {owner: owner{"apps/v1", "StatefulSet", "web", "5e7a"}, byDefault: "db", want: "web"},
		"no owner, but a default":                      {byDefault: "web", want: "web"},
		"another owner, but a default":                 {owner: owner{"batch/v1", "Job", "x", "5e7a"}, byDefault: "web", want: "web"},
		"no owner":                                     {controller: `it has no controller`},
		"a ReplicaSet":                                 {owner: owner{"apps/v1", "ReplicaSet", "web-5d8", "5e7a"}, controller: `its controller is "ReplicaSet" "web-5d8" of "apps/v1"`},
		"a StatefulSet of another group":               {owner: owner{"example.com/v1", "StatefulSet", "web", "5e7a"}, controller: `its controller is "StatefulSet" "web" of "example.com/v1"`},
		"a StatefulSet of the core group":              {owner: owner{"v1", "StatefulSet", "web", "5e7a"}, controller: `its controller is "StatefulSet" "web" of "v1"`},
		"a StatefulSet of a group that has no version": {owner: owner{"apps", "StatefulSet", "web", "5e7a"}, controller: `its controller is "StatefulSet" "web" of "apps"`},
		"a kind that differs in case":                  {owner: owner{"apps/v1", "statefulset", "web", "5e7a"}, controller: `its controller is "statefulset" "web" of "apps/v1"`},
	} {
		t.Run(sentence, func(t *testing.T) {
			p := podOf("", "web-1")
			p.controller = c.owner
			want := decision{outcome: denied, denial: &denial{
				reason: "NoStatefulSet", field: "metadata.ownerReferences", cause: "FieldValueInvalid",
				message: `pod "web-1" carries the label ab-build-different=true, but no StatefulSet controls it (` + c.controller + `)` + remedy,
			}}
			if c.want != "" {
				want = decision{
					outcome: placed, statefulSet: c.want, ordinal: 1, key: "name", value: "node2", forms: "even/odd",
					patch: []byte(`[{"op":"add","path":"/spec/nodeSelector","value":{"name":"node2"}}]`),
				}
			}
			compareDecisions(t, want, decide(creationOf(p), Settings{DefaultStatefulSet: c.byDefault}))
		})
	}
}

func TestDefaultStatefulSetIsAPrefixOfTheName(t *testing.T) {
	p := podOf("", "db-1")
	p.controller = owner{}
	got := decide(creationOf(p), Settings{DefaultStatefulSet: "web"})
	compareDecisions(t, decision{outcome: denied, statefulSet: "web", denial: &denial{
		reason: "OrdinalInvalid", field: "metadata.name", cause: "FieldValueInvalid",
		message: `pod "db-1" has no ordinal in StatefulSet "web": its name does not start with "web-"` +
			`; let the StatefulSet create its pods, or remove the label ab-build-different`,
	}}, got)
}

func TestPodIndexMustAgree(t *testing.T) {
	for sentence, c := range map[string]struct {
		index  member
		agrees bool
	}{
		"no label":             {member{}, true},
		"the same number":      {member{"12", true}, true},
		"another number":       {member{"11", true}, false},
		"a leading zero":       {member{"012", true}, false},
		"nothing in it":        {member{"", true}, false},
		"not a number":         {member{"twelve", true}, false},
		"only the start of it": {member{"1", true}, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			p := podOf("web", "web-12")
			p.podIndex = c.index
			want := decision{
				outcome: placed, statefulSet: "web", ordinal: 12, key: "name", value: "node1", forms: "even/odd",
				patch: []byte(`[{"op":"add","path":"/spec/nodeSelector","value":{"name":"node1"}}]`),
			}
			if !c.agrees {
				want = decision{outcome: denied, statefulSet: "web", denial: &denial{
					reason: "PodIndexMismatch", field: "metadata.labels[apps.kubernetes.io/pod-index]", cause: "FieldValueInvalid",
					message: `label apps.kubernetes.io/pod-index is "` + c.index.value +
						`", but the name of pod "web-12" says ordinal 12; remove the label or correct it`,
				}}
			}
			compareDecisions(t, want, decide(creationOf(p), Settings{}))
		})
	}
}

func TestPodIndexIsNoSourceOfTheOrdinal(t *testing.T) {
	p := podOf("web", "other")
	p.podIndex = member{"1", true}
	if got := decide(creationOf(p), Settings{}); got.outcome != denied || got.denial.reason != "OrdinalInvalid" {
		t.Errorf("got %+v, want a denial for the name", got)
	}
}

func TestPodWithoutANameIsDenied(t *testing.T) {
	got := decide(creationOf(podOf("web", "")), Settings{})
	compareDecisions(t, decision{outcome: denied, denial: &denial{
		reason: "PodUnnamed", field: "metadata.name", cause: "FieldValueRequired",
		message: `the pod has no name (generateName is not enough), so it has no ordinal; ` +
			`let a StatefulSet create it, or remove the label ab-build-different`,
	}}, got)
}

func TestMissingAnnotationIsDenied(t *testing.T) {
	p := podOf("web", "web-1")
	p.annotation = nil
	compareDecisions(t, decision{outcome: denied, statefulSet: "web", denial: &denial{
		reason: "AnnotationMissing", field: "metadata.annotations[custom-node-selector]", cause: "FieldValueRequired",
		message: `pod "web-1" carries the label ab-build-different=true but no annotation custom-node-selector; add ` +
			`{"key": "<node label>", "even": "<value for even ordinals>", "odd": "<value for odd ordinals>"}` +
			` to the StatefulSet's pod template, or remove the label`,
	}}, decide(creationOf(p), Settings{}))
}

func TestMessagesAreBoundedAndPrintable(t *testing.T) {
	p := podOf("web", "web-\x1b[31m"+strings.Repeat("é", 1<<20))
	message := decide(creationOf(p), Settings{}).denial.message
	if len(message) > 1000 {
		t.Errorf("the message has %d bytes", len(message))
	}
	if strings.ContainsFunc(message, func(r rune) bool { return r < ' ' || r == '\uFFFD' }) {
		t.Errorf("the message is not printable: %q", message)
	}
}

// compareDecisions leaves out the problem, which TestDenialsHaveTheirCauseInParts holds.
func compareDecisions(t *testing.T, want, got decision) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(decision{}, denial{}), cmpopts.IgnoreFields(denial{}, "problem")); diff != "" {
		t.Errorf("decisions differ (-want +got):\n%s", diff)
	}
}
