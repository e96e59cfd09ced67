package validator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"sts-mutating-webhook/internal/plan"
)

// A StatefulSet for tests, as YAML: fields of its spec, of its template's metadata and of its template's spec.
func object(spec, metadata, podSpec string) string {
	text := fmt.Sprintf("{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: web, namespace: shop}, spec: {%s template: {metadata: {%s}, spec: {%s}}}}", spec, metadata, podSpec)
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// labelled is metadata of an opted-in template.
func labelled(rule string) string {
	return fmt.Sprintf(`labels: {ab-build-different: "true"}, annotations: {custom-node-selector: '%s'}`, rule)
}

func review(operation, object, old string) string {
	if old == "" {
		old = "null"
	}
	return fmt.Sprintf(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u1","kind":{"group":"apps","version":"v1","kind":"StatefulSet"},`+
		`"name":"web","namespace":"shop","operation":%q,"object":%s,"oldObject":%s}}`, operation, object, old)
}

// answerTo returns the HTTP status, and the answer if it is one.
func answerTo(t *testing.T, h *Handler, body string) (int, *admissionv1.AdmissionResponse) {
	t.Helper()
	code, answered := 0, &admissionv1.AdmissionReview{}
	h.Handle([]byte(body), func(status int, answer []byte) {
		if code = status; status == http.StatusOK {
			if err := json.Unmarshal(answer, answered); err != nil {
				t.Error(err)
			}
		}
	})
	return code, answered.Response
}

const (
	good   = `{"key":"name","even":"node1","odd":"node2"}`
	other  = `{"key":"name","even":"node2","odd":"node1"}`
	broken = `{"key":"name","evn":"node1","odd":"node2"}`
	few    = `{"key":"name","ordinals":{"0-1":"a"}}`
)

func TestStatefulSetsAreCheckedWhenTheyAreApplied(t *testing.T) {
	const path = "spec.template.metadata.annotations[custom-node-selector]"
	for sentence, tc := range map[string]struct {
		object, old string
		refused     string   // a part of the message; empty: allowed
		warnings    []string // parts of each
	}{
		"a right one passes in silence":           {object: object("", labelled(good), ""), old: ""},
		"one that is not ours passes":             {object: object("", "labels: {app: x}", "")},
		"an unknown field is refused by its name": {object: object("", labelled(broken), ""), refused: path + `: field "evn" is unknown`},
		"a label without annotation is refused":   {object: object("", `labels: {ab-build-different: "true"}`, ""), refused: path + ": it is missing"},
		"an ordinal in use without a value":       {object: object("replicas: 3,", labelled(few), ""), refused: "has no value for ordinal 2"},
		"an annotation without label is warned of": {object: object("", "annotations: {custom-node-selector: x}", ""),
			warnings: []string{"spec.template.metadata.labels[ab-build-different]: the annotation custom-node-selector has no effect without the label"}},
		"the template's own selector is warned of": {object: object("replicas: 4,", labelled(good), "nodeSelector: {name: node1}"),
			warnings: []string{"spec.template.spec.nodeSelector: the template's own name=node1 is overwritten with name=node2"}},
		"a preference beside a claim is warned of": {object: object(`volumeClaimTemplates: [{metadata: {name: data}}],`, labelled(strings.Replace(good, "}", `,"whenUnsatisfiable":"ScheduleAnyway"}`, 1)), ""),
			warnings: []string{"spec.volumeClaimTemplates: the pods mount a claim"}},
		"the scheduling gate without its label is warned of": {object: object("", labelled(good), "schedulingGates: [{name: sts-webhook.custom-system.svc/placement}]"),
			warnings: []string{"spec.template.spec.schedulingGates: sts-webhook.custom-system.svc/placement needs the label sts-webhook.custom-system.svc/gate"}},
		"the label without its scheduling gate is warned of": {object: object("", strings.Replace(labelled(good), "labels: {", "labels: {sts-webhook.custom-system.svc/gate: placement, ", 1), "schedulingGates: [{name: example.com/quota}]"),
			warnings: []string{"spec.template.metadata.labels[sts-webhook.custom-system.svc/gate]: it needs the scheduling gate sts-webhook.custom-system.svc/placement"}},
		"the gate with its label passes in silence": {object: object("", strings.Replace(labelled(good), "labels: {", "labels: {sts-webhook.custom-system.svc/gate: placement, ", 1), "schedulingGates: [{name: sts-webhook.custom-system.svc/placement}]")},
		"a new rule moves ordinals": {object: object("replicas: 5,", labelled(other), ""), old: object("replicas: 5,", labelled(good), ""),
			warnings: []string{path + ": ordinals 0-4 move to other nodes"}},
		"a partition holds some of them back": {object: object("replicas: 5, ordinals: {start: 10}, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 2}},", labelled(other), ""), old: object("replicas: 5, ordinals: {start: 10},", labelled(good), ""),
			warnings: []string{path + ": ordinals 10-14 move to other nodes when their pods are next created, those below 12 once the partition is lowered;"}},
		"a partition below them does not": {object: object("replicas: 5, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 0}},", labelled(other), ""), old: object("replicas: 5,", labelled(good), ""),
			warnings: []string{"move to other nodes when their pods are next created;"}},
		"an image is nobody's business":        {object: object("replicas: 5,", labelled(good), `containers: [{name: a, image: "x:2"}]`), old: object("replicas: 5,", labelled(good), `containers: [{name: a, image: "x:1"}]`)},
		"a mistake in an update is refused":    {object: object("", labelled(broken), ""), old: object("", labelled(good), ""), refused: "evn"},
		"a broken one may be repaired":         {object: object("", labelled(good), ""), old: object("", labelled(broken), "")},
		"a broken one may opt out":             {object: object("", "labels: {app: x}", ""), old: object("", labelled(broken), "")},
		"a broken one may change elsewhere":    {object: object("updateStrategy: {type: OnDelete},", labelled(broken), ""), old: object("", labelled(broken), "")},
		"a broken one may be scaled, warned":   {object: object("replicas: 0,", labelled(broken), ""), old: object("replicas: 3,", labelled(broken), ""), warnings: []string{"evn"}},
		"a broken one may not get a new image": {object: object("", labelled(broken), `containers: [{name: a, image: "x:2"}]`), old: object("", labelled(broken), ""), refused: "evn"},
		"scaling beyond the rule is warned of": {object: object("replicas: 3,", labelled(few), ""), old: object("replicas: 2,", labelled(few), ""), warnings: []string{"has no value for ordinal 2"}},
		"a name that is still to be made":      {object: strings.Replace(object("", labelled(good), ""), `"name":"web"`, `"generateName":"web-"`, 1)},
	} {
		t.Run(sentence, func(t *testing.T) {
			operation := "CREATE"
			if tc.old != "" {
				operation = "UPDATE"
			}
			code, got := answerTo(t, NewHandler(Settings{}, logr.Discard(), nil), review(operation, tc.object, tc.old))
			if code != http.StatusOK || got.UID != "u1" || got.Allowed != (tc.refused == "") {
				t.Fatalf("got %d %+v", code, got)
			}
			if tc.refused != "" {
				if s := got.Result; s.Code != 422 || !strings.Contains(s.Message, tc.refused) || len(s.Details.Causes) != 1 || !strings.HasPrefix(s.Details.Causes[0].Field, "spec.") {
					t.Errorf("refused with %+v, want %q", s, tc.refused)
				}
			}
			if len(got.Warnings) != len(tc.warnings) {
				t.Fatalf("got warnings %q, want %q", got.Warnings, tc.warnings)
			}
			for i, want := range tc.warnings {
				if !strings.Contains(got.Warnings[i], want) {
					t.Errorf("got warning %q, want %q", got.Warnings[i], want)
				}
			}
		})
	}
}

// bareCluster warns of each ordinal, and twice of the first.
type bareCluster struct{}

func (bareCluster) Problems(_ *appsv1.StatefulSet, rows []plan.Row) (problems []plan.Problem) {
	for _, row := range append(rows, rows[0]) {
		problems = append(problems, plan.Problem{Severity: plan.Warning, Field: "spec.replicas", Message: row.Pod + " has no node"})
	}
	return problems
}

func TestTheClusterIsAskedForWarnings(t *testing.T) {
	h := NewHandler(Settings{Cluster: bareCluster{}}, logr.Discard(), nil)
	_, got := answerTo(t, h, review("CREATE", object("replicas: 2,", labelled(good), ""), ""))
	if diff := cmp.Diff([]string{"spec.replicas: web-0 has no node", "spec.replicas: web-1 has no node"}, got.Warnings); diff != "" {
		t.Errorf("warnings differ (-want +got):\n%s", diff)
	}
	if _, got := answerTo(t, h, review("CREATE", object("replicas: 2,", "labels: {app: x}", ""), "")); got.Warnings != nil {
		t.Errorf("of a StatefulSet that is not ours: %q", got.Warnings)
	}
	_, got = answerTo(t, h, review("CREATE", object("replicas: 50,", labelled(good), ""), ""))
	if n := len(got.Warnings); n != maxWarnings || got.Warnings[n-1] != `and 41 more: "sts-webhook plan" shows all` {
		t.Errorf("got %d warnings, the last %q", n, got.Warnings[n-1])
	}
}

func TestAStatefulSetOfAnySizeIsCheckedInBoundedTime(t *testing.T) {
	rows := 0
	h := NewHandler(Settings{Cluster: counting{&rows}}, logr.Discard(), nil)
	if _, got := answerTo(t, h, review("CREATE", object("replicas: 2147483647,", labelled(good), ""), "")); !got.Allowed || rows != maxOrdinals {
		t.Errorf("allowed %v after %d ordinals, want %d", got.Allowed, rows, maxOrdinals)
	}
	large := object("replicas: 2147483647,", labelled(good), `nodeSelector: {a: "`+strings.Repeat("x", 1<<20)+`"}`)
	if answerTo(t, h, review("CREATE", large, "")); rows > 33 {
		t.Errorf("%d copies of 1 MiB, want at most 32", rows)
	}
	if answerTo(t, h, review("CREATE", object("replicas: 3,", labelled(good), `containers: [{name: a, image: "`+strings.Repeat("x", 1<<20)+`"}]`), "")); rows != 3 {
		t.Errorf("%d rows, want 3", rows)
	}
}

type counting struct{ rows *int }

func (c counting) Problems(_ *appsv1.StatefulSet, rows []plan.Row) []plan.Problem {
	*c.rows = len(rows)
	return nil
}

func TestWhatIsNoReviewOfAStatefulSetIsRefused(t *testing.T) {
	right := review("CREATE", object("", labelled(good), ""), "")
	for name, body := range map[string]string{
		"nothing":            "",
		"no JSON":            "{",
		"no request":         `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`,
		"another version":    strings.Replace(right, "admission.k8s.io/v1", "admission.k8s.io/v1beta1", 1),
		"a pod":              strings.Replace(right, `"kind":"StatefulSet"}`, `"kind":"Pod"}`, 1),
		"no object":          strings.Replace(right, `"object":`, `"objekt":`, 1),
		"an object's text":   strings.Replace(right, `"object":`, `"object":"x","objekt":`, 1),
		"a broken oldObject": strings.Replace(right, `"oldObject":null`, `"oldObject":[]`, 1),
	} {
		reg := prometheus.NewRegistry()
		h := NewHandler(Settings{}, logr.Discard(), reg)
		if code, _ := answerTo(t, h, body); code != http.StatusBadRequest {
			t.Errorf("%s: got %d, want 400", name, code)
		}
		if n := testutil.ToFloat64(h.results.WithLabelValues(failed)); n != 1 {
			t.Errorf("%s: counted %v times, want once", name, n)
		}
	}
}

func TestReviewsOfStatefulSetsLeaveRoomForPods(t *testing.T) {
	h := NewHandler(Settings{}, logr.Discard(), nil)
	for range atOnce {
		h.turns <- struct{}{}
	}
	if code, _ := answerTo(t, h, review("CREATE", object("", labelled(good), ""), "")); code != http.StatusInternalServerError {
		t.Errorf("got %d, want 500 while others are checked", code)
	}
}

func FuzzHandle(f *testing.F) {
	f.Add([]byte(review("CREATE", object("", labelled(good), ""), "")))
	f.Add([]byte(review("UPDATE", object("replicas: 3,", labelled(few), "nodeSelector: {name: a}"), object("", labelled(broken), ""))))
	h := NewHandler(Settings{}, logr.Discard(), nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		replies := 0
		h.Handle(body, func(status int, answer []byte) {
			replies++
			if status == http.StatusOK && !json.Valid(answer) {
				t.Errorf("the answer is no JSON: %q", answer)
			}
		})
		if replies != 1 {
			t.Errorf("%d replies", replies)
		}
	})
}
