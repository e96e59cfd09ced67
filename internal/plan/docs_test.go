package plan

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"

	"sts-mutating-webhook/internal/placement"
	"sts-mutating-webhook/test/document"
)

const (
	docs        = "../../docs/"
	exampleFile = "docs/examples/rules.yaml"
)

// exampleTable is the table of the rules in docs/examples/rules.yaml.
func exampleTable(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| StatefulSet | `custom-node-selector` |\n|---|---|\n")
	for _, s := range readFile(t, "../../"+exampleFile).StatefulSets {
		rule := strings.Join(strings.Fields(s.Spec.Template.Annotations[placement.Annotation]), " ")
		fmt.Fprintf(&b, "| `%s` | `%s` |\n", s.Name, rule)
	}
	return b.String()
}

// exampleRules is that table, and the plan.
func exampleRules(t *testing.T) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n```\n$ sts-webhook plan -f %s\n", exampleTable(t), exampleFile)
	if err := Print(&b, "table", Rows(readFile(t, "../../"+exampleFile).StatefulSets, Options{})); err != nil {
		t.Fatal(err)
	}
	b.WriteString("```\n")
	return b.String()
}

// exampleMoves is what a third zone moves, of six pods.
func exampleMoves(t *testing.T) string {
	before, after := setOf(t, `{"key":"topology.kubernetes.io/zone","values":["a","b"]}`, `replicas: 6`, ``), setOf(t, `{"key":"topology.kubernetes.io/zone","values":["a","b","c"]}`, `replicas: 6`, ``)
	var b strings.Builder
	b.WriteString("```\n$ sts-webhook plan -f three-zones.yaml --diff=two-zones.yaml\n")
	if err := PrintMoves(&b, "table", Diff([]appsv1.StatefulSet{before}, []appsv1.StatefulSet{after}, Options{})); err != nil {
		t.Fatal(err)
	}
	b.WriteString("```\n")
	return b.String()
}

// Run with -update to write them.
func TestDocumentsShowWhatPlanPrints(t *testing.T) {
	for _, c := range []struct{ file, writer, text string }{
		{"../../README.md", "internal/plan", exampleTable(t)},
		{"../../README.zh-CN.md", "internal/plan", exampleTable(t)},
		{docs + "rules.md", "internal/plan", exampleRules(t)},
		{docs + "rules.md", "internal/plan diff", exampleMoves(t)},
	} {
		text, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		renewed := filepath.Join(t.TempDir(), "document.md")
		if err := os.WriteFile(renewed, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := document.Replace(renewed, c.writer, c.text); err != nil {
			t.Fatalf("%s: %v", c.file, err)
		}
		want, err := os.ReadFile(renewed)
		if err != nil {
			t.Fatal(err)
		}
		compareGolden(t, c.file, string(want))
	}
}

func TestExamplesOfTheDocumentAreRules(t *testing.T) {
	text, err := os.ReadFile(docs + "rules.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 6 {
		t.Errorf("got %d examples, want one for each form at least", len(blocks))
	}
	for _, block := range blocks {
		if _, err := placement.Parse([]byte(block[1])); err != nil {
			t.Errorf("%s: %v", block[1], err)
		}
	}
}

// The shape of -o json is a promise: a change of this list is a change for users.
func TestFieldsOfTheJSONAreKeptAndDocumented(t *testing.T) {
	text, err := os.ReadFile(docs + "commands.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		value any
		want  string
	}{
		{Row{}, "namespace statefulSet ordinal pod nodeSelector tolerations preferred nodes problems"},
		{Problem{}, "severity field message"},
		{Move{}, "namespace statefulSet ordinal pod change from to"},
		{Place{}, "nodeSelector tolerations preferred"},
	} {
		var got []string
		for field := range reflect.TypeOf(c.value).Fields() {
			if name := field.Tag.Get("json"); name != "-" {
				got = append(got, name)
			}
		}
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%T: fields differ (-want +got):\n%s", c.value, diff)
		}
		for _, name := range got {
			if !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("%T: docs/commands.md does not name %s", c.value, name)
			}
		}
	}
}
