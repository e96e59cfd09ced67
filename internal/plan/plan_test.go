package plan

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"sts-mutating-webhook/internal/output"
)

var update = flag.Bool("update", false, "write testdata and the documents instead of comparing with them")

// compareGolden compares text with a file, or writes it.
func compareGolden(t *testing.T, file, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", file, diff)
	}
}

func readFile(t *testing.T, name string) *Manifests {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	m := &Manifests{}
	if err := m.Read(bytes.NewReader(text), "default"); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPlanIsPrintedAsKept(t *testing.T) {
	rows := Rows(readFile(t, "testdata/shop.yaml").StatefulSets, Options{})
	for _, format := range output.Formats {
		var out strings.Builder
		if err := Print(&out, format, rows); err != nil {
			t.Fatal(err)
		}
		compareGolden(t, "testdata/shop."+format+".golden", out.String())
	}
}

func TestNothingIsPrintedAsKubectlDoes(t *testing.T) {
	for format, want := range map[string]string{"table": "", "wide": "", "json": "[]\n", "yaml": "[]\n"} {
		var rows, moves strings.Builder
		if err := Print(&rows, format, Rows(nil, Options{})); err != nil || rows.String() != want {
			t.Errorf("%s: got %q, error %v, want %q", format, rows.String(), err, want)
		}
		if err := PrintMoves(&moves, format, Diff(nil, nil, Options{})); err != nil || moves.String() != want {
			t.Errorf("%s of moves: got %q, error %v, want %q", format, moves.String(), err, want)
		}
	}
}

// setOf is an opted-in StatefulSet web in shop, with those fields of its spec and of
// its template's spec.
func setOf(t *testing.T, rule, spec, podSpec string) appsv1.StatefulSet {
	t.Helper()
	text := fmt.Sprintf(`{metadata: {name: web, namespace: shop}, spec: {template: {metadata: {labels: {ab-build-different: "true"},
		annotations: {custom-node-selector: '%s'}}, spec: {%s}}, %s}}`, rule, podSpec, spec)
	var set appsv1.StatefulSet
	if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(text, "\t", " ")), &set); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return set
}

// shown is a plan in short: one line for each row, its problems after it.
func shown(rows []Row) (lines []string) {
	for _, r := range rows {
		line := "web"
		if r.Ordinal != nil {
			line = r.Pod + " " + SelectorText(r.NodeSelector)
		}
		for _, p := range r.Problems {
			line += fmt.Sprintf(" | %s at %s: %s", p.Severity, p.Field, p.Message)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestPlannedRows(t *testing.T) {
	const zones, prefer = `{"key":"zone","values":["a","b","c"]}`, `{"key":"zone","values":["a"],"whenUnsatisfiable":"ScheduleAnyway"}`
	const claim = `the pods mount a claim, and zone is only preferred (ScheduleAnyway): a pod that falls back to another node may bind its volume there for good; use DoNotSchedule`
	for sentence, c := range map[string]struct {
		rule, spec, podSpec string
		replace             bool
		want                []string
	}{
		"one replica is the default":              {zones, ``, ``, false, []string{"web-0 zone=a"}},
		"no replicas have no rows":                {zones, `replicas: 0`, ``, false, nil},
		"ordinals go from 0":                      {zones, `replicas: 4`, ``, false, []string{"web-0 zone=a", "web-1 zone=b", "web-2 zone=c", "web-3 zone=a"}},
		"or from ordinals.start":                  {zones, `replicas: 2, ordinals: {start: 5}`, ``, false, []string{"web-5 zone=c", "web-6 zone=a"}},
		"or up to the largest":                    {zones, `replicas: 1, ordinals: {start: 2147483647}`, ``, false, []string{"web-2147483647 zone=b"}},
		"but not beyond it":                       {zones, `replicas: 2, ordinals: {start: 2147483647}`, ``, false, []string{"web | error at spec.ordinals.start: the last ordinal would be 2147483648, above 2147483647; lower it"}},
		"nor from below 0":                        {zones, `ordinals: {start: -1}`, ``, false, []string{"web | error at spec.ordinals.start: -1 is negative"}},
		"nor a negative number of them":           {zones, `replicas: -1`, ``, false, []string{"web | error at spec.replicas: -1 is negative"}},
		"nor more than anybody reads":             {zones, `replicas: 100001`, ``, false, []string{"web | error at spec.replicas: 100001 pods are too many: at most 100000 are planned"}},
		"the template's selector is merged":       {zones, ``, `nodeSelector: {disk: ssd}`, false, []string{"web-0 disk=ssd,zone=a"}},
		"the same entry is no conflict":           {zones, ``, `nodeSelector: {zone: a}`, false, []string{"web-0 zone=a"}},
		"another value is overwritten":            {zones, `replicas: 2`, `nodeSelector: {zone: a}`, false, []string{"web-0 zone=a", "web-1 zone=b | warning at spec.template.spec.nodeSelector: the template's own zone=a is overwritten with zone=b; remove it from the template"}},
		"replace drops other entries":             {zones, ``, `nodeSelector: {disk: ssd}`, true, []string{"web-0 zone=a | warning at spec.template.spec.nodeSelector: the template's own disk=ssd is dropped, as --existing-selector=replace wants it"}},
		"replace without an entry drops none":     {prefer, ``, `nodeSelector: {disk: ssd}`, true, []string{"web-0 disk=ssd"}},
		"a claim and a preference are a trap":     {prefer, `volumeClaimTemplates: [{metadata: {name: data}}]`, ``, false, []string{"web | warning at spec.volumeClaimTemplates: " + claim, "web-0 <none>"}},
		"a claim by name is one as well":          {prefer, ``, `volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]`, false, []string{"web | warning at spec.template.spec.volumes: " + claim, "web-0 <none>"}},
		"a claim and a requirement are none":      {zones, `volumeClaimTemplates: [{metadata: {name: data}}]`, ``, false, []string{"web-0 zone=a"}},
		"a volume without a claim is none":        {prefer, ``, `volumes: [{name: tmp, emptyDir: {}}]`, false, []string{"web-0 <none>"}},
		"an ordinal without a value is an error":  {`{"key":"zone","ordinals":{"0":"a"}}`, `replicas: 2`, ``, false, []string{"web-0 zone=a", `web-1 <none> | error at spec.template.metadata.annotations[custom-node-selector]: field "ordinals" has no value for ordinal 1, and there is no "default"; add the ordinal, or a default; write {"key": "<node label>", "ordinals": {"0": "<value>", "1-2,5": "<value>"}, "default": "<value for all others>"}`}},
		"a rule that is none is an error for all": {`{`, `replicas: 9`, ``, false, []string{`web | error at spec.template.metadata.annotations[custom-node-selector]: it is not valid JSON: read JSON at byte 1: expected a string: unexpected EOF; write {"key": "<node label>", "even": "<value for even ordinals>", "odd": "<value for odd ordinals>"}`}},
	} {
		t.Run(sentence, func(t *testing.T) {
			set := setOf(t, c.rule, c.spec, c.podSpec)
			before := set.DeepCopy()
			got := shown(Rows([]appsv1.StatefulSet{set}, Options{ReplaceExisting: c.replace}))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, &set); diff != "" {
				t.Errorf("the plan changed the StatefulSet:\n%s", diff)
			}
		})
	}
}

func TestLabelAndAnnotationBelongTogether(t *testing.T) {
	const rule = `{"key":"zone","values":["a"]}`
	for sentence, c := range map[string]struct {
		change func(*appsv1.StatefulSet)
		want   []string
	}{
		"neither is no business of ours": {func(s *appsv1.StatefulSet) { s.Spec.Template.Labels, s.Spec.Template.Annotations = nil, nil }, nil},
		"the label alone is an error": {func(s *appsv1.StatefulSet) { s.Spec.Template.Annotations = nil }, []string{
			`web | error at spec.template.metadata.annotations[custom-node-selector]: it is missing, so every pod will be refused; write {"key": "<node label>", "even": "<value for even ordinals>", "odd": "<value for odd ordinals>"}, or remove the label ab-build-different`}},
		"the annotation alone is warned of": {func(s *appsv1.StatefulSet) { s.Spec.Template.Labels = nil }, []string{
			`web | warning at spec.template.metadata.labels[ab-build-different]: the annotation custom-node-selector has no effect without the label; add ab-build-different: "true"`, "web-0 <none>"}},
		"a label of another value is none": {func(s *appsv1.StatefulSet) { s.Spec.Template.Labels["ab-build-different"] = "True" }, []string{
			`web | warning at spec.template.metadata.labels[ab-build-different]: it is "True", so the annotation custom-node-selector has no effect; write "true"`, "web-0 <none>"}},
		"a namespace whose pods are not sent is warned of": {func(s *appsv1.StatefulSet) { s.Namespace = "kube-system" }, []string{
			"web | warning at metadata.namespace: the webhook is not called for pods in kube-system, so the annotation custom-node-selector has no effect; use another namespace", "web-0 <none>"}},
		"so is a name with little room for a revision": {func(s *appsv1.StatefulSet) { s.Name = strings.Repeat("w", 53) }, []string{
			"web | warning at metadata.name: it has 53 bytes, so Kubernetes may refuse the pods, whose label controller-revision-hash adds up to 11 to it and may have 63; use a name of at most 52",
			strings.Repeat("w", 53) + "-0 zone=a"}},
		"the longest name without a warning": {func(s *appsv1.StatefulSet) { s.Name = strings.Repeat("w", 52) }, []string{strings.Repeat("w", 52) + "-0 zone=a"}},
		"a name that is too long for a pod's label": {func(s *appsv1.StatefulSet) { s.Name = strings.Repeat("w", 62) }, []string{
			"web | warning at metadata.name: it has 62 bytes, so Kubernetes may refuse the pods, whose label controller-revision-hash adds up to 11 to it and may have 63; use a name of at most 52",
			strings.Repeat("w", 62) + `-0 <none> | error at metadata.name: the pod's name "` + strings.Repeat("w", 62) + `-0" is invalid: it has 64 bytes, and the label statefulset.kubernetes.io/pod-name, which holds it, may have 63; use a shorter name`}},
		"also of pods that are not sent": {func(s *appsv1.StatefulSet) { s.Name, s.Spec.Template.Labels = strings.Repeat("w", 62), nil }, []string{
			"web | warning at metadata.name: it has 62 bytes, so Kubernetes may refuse the pods, whose label controller-revision-hash adds up to 11 to it and may have 63; use a name of at most 52" +
				` | warning at spec.template.metadata.labels[ab-build-different]: the annotation custom-node-selector has no effect without the label; add ab-build-different: "true"`,
			strings.Repeat("w", 62) + `-0 <none> | error at metadata.name: the pod's name "` + strings.Repeat("w", 62) + `-0" is invalid: it has 64 bytes, and the label statefulset.kubernetes.io/pod-name, which holds it, may have 63; use a shorter name`}},
		"a rule without a value is an error beside it": {func(s *appsv1.StatefulSet) {
			s.Name, s.Spec.Template.Annotations["custom-node-selector"] = strings.Repeat("w", 62), `{"key":"zone","ordinals":{"7":"a"}}`
		}, []string{
			"web | warning at metadata.name: it has 62 bytes, so Kubernetes may refuse the pods, whose label controller-revision-hash adds up to 11 to it and may have 63; use a name of at most 52",
			strings.Repeat("w", 62) + `-0 <none> | error at spec.template.metadata.annotations[custom-node-selector]: field "ordinals" has no value for ordinal 0, and there is no "default"; add the ordinal, or a default; write {"key": "<node label>", "ordinals": {"0": "<value>", "1-2,5": "<value>"}, "default": "<value for all others>"} | error at metadata.name: the pod's name "` +
				strings.Repeat("w", 62) + `-0" is invalid: it has 64 bytes, and the label statefulset.kubernetes.io/pod-name, which holds it, may have 63; use a shorter name`}},
		"a name that no pod can have is an error": {func(s *appsv1.StatefulSet) { s.Name = "web_" }, []string{
			`web_-0 <none> | error at metadata.name: the pod's name "web_-0" is invalid: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`}},
	} {
		t.Run(sentence, func(t *testing.T) {
			set := setOf(t, rule, ``, ``)
			c.change(&set)
			if diff := cmp.Diff(c.want, shown(Rows([]appsv1.StatefulSet{set}, Options{}))); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
		})
	}
}
