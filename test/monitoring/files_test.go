package monitoring

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"sts-mutating-webhook/test/kit"
)

var update = flag.Bool("update", false, "write docs/monitoring/rules.yaml")

const (
	ruleManifest = "../../manifests/optional/monitoring/prometheus-rule.yaml"
	plainRules   = "../../docs/monitoring/rules.yaml"
	dashboard    = "../../docs/monitoring/dashboard.json"
	scrapeConfig = "../../docs/monitoring/scrape.yaml"
	runbook      = "../../docs/runbook.md"
	ruleTests    = "rules_test.yaml"
)

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

type group struct {
	Name  string `json:"name"`
	Rules []rule `json:"rules"`
}

type ruleFile struct {
	Groups []group `json:"groups"`
}

// readRules returns the groups of the PrometheusRule, which may hold nothing that a rule here does not have.
func readRules(t *testing.T) ruleFile {
	t.Helper()
	var manifest struct {
		Spec json.RawMessage `json:"spec"`
	}
	kit.Must(t, yaml.Unmarshal(read(t, ruleManifest), &manifest))
	var rules ruleFile
	decoder := json.NewDecoder(bytes.NewReader(manifest.Spec))
	decoder.DisallowUnknownFields()
	kit.Must(t, decoder.Decode(&rules))
	if len(rules.Groups) == 0 || len(rules.Groups[0].Rules) < 9 {
		t.Fatalf("%s has the groups %+v, want nine rules at least", ruleManifest, rules.Groups)
	}
	return rules
}

func (f ruleFile) alerts() []rule {
	var all []rule
	for _, g := range f.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func TestPlainRulesAreThoseOfTheOperator(t *testing.T) {
	text, err := yaml.Marshal(readRules(t))
	kit.Must(t, err)
	want := "# For a Prometheus without the operator: name this file in its rule_files. Written from\n" +
		"# manifests/optional/monitoring/prometheus-rule.yaml by go test ./test/monitoring -run PlainRules -update\n" + string(text)
	if *update {
		kit.Must(t, os.WriteFile(plainRules, []byte(want), 0o644))
	}
	if got := string(read(t, plainRules)); got != want {
		t.Errorf("%s differs from %s: run go test ./test/monitoring -run PlainRules -update\ngot\n%s\nwant\n%s", plainRules, ruleManifest, got, want)
	}
}

var heading = regexp.MustCompile(`(?m)^## (\w+)$`)

func TestEveryRuleHasASectionOfTheRunbook(t *testing.T) {
	sections := map[string]string{}
	text := string(read(t, runbook))
	for _, at := range heading.FindAllStringSubmatchIndex(text, -1) {
		name, rest := text[at[2]:at[3]], text[at[1]:]
		if next := heading.FindStringIndex(rest); next != nil {
			rest = rest[:next[0]]
		}
		sections[name] = rest
	}
	for _, r := range readRules(t).alerts() {
		want := "docs/runbook.md#" + strings.ToLower(r.Alert)
		if got := r.Annotations["runbook_url"]; got != want {
			t.Errorf("%s: runbook_url: got %q, want %q", r.Alert, got, want)
		}
		for _, part := range []string{"**What it means.**", "**What users notice.**", "**How to look.**", "**What to do.**"} {
			if !strings.Contains(sections[r.Alert], part) {
				t.Errorf("%s: its section of %s lacks %q", r.Alert, runbook, part)
			}
		}
		for _, name := range []string{"summary", "description"} {
			if r.Annotations[name] == "" {
				t.Errorf("%s has no %s", r.Alert, name)
			}
		}
		if !slices.Contains([]string{"critical", "warning"}, r.Labels["severity"]) {
			t.Errorf("%s: severity: got %q, want critical or warning", r.Alert, r.Labels["severity"])
		}
		delete(sections, r.Alert)
	}
	for name := range sections {
		t.Errorf("%s has a section %s, and there is no such rule", runbook, name)
	}
}

// generic are the metrics that Prometheus' client registers in every Go program.
var generic = []string{"process_cpu_seconds_total", "process_resident_memory_bytes"}

var (
	registered = regexp.MustCompile(`"(sts_webhook_[a-z_]+)"`)
	metric     = regexp.MustCompile(`\b(?:sts_webhook|process|go|up|apiserver)_[a-z_]+`)
)

func TestRulesAndDashboardUseMetricsThatExist(t *testing.T) {
	exist := map[string]bool{"sts_webhook_build_info": true} // of version.NewCollector
	kit.Must(t, filepath.WalkDir("../../internal", func(file string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := os.ReadFile(file)
		for _, m := range registered.FindAllStringSubmatch(string(text), -1) {
			exist[m[1]] = true
		}
		return err
	}))
	for _, name := range generic {
		exist[name] = true
	}
	used := map[string][]string{}
	for _, r := range readRules(t).alerts() {
		used[r.Alert] = metric.FindAllString(r.Expr, -1)
	}
	for title, expressions := range readDashboard(t) {
		used["panel "+title] = metric.FindAllString(strings.Join(expressions, "\n"), -1)
	}
	for by, names := range used {
		if len(names) == 0 {
			t.Errorf("%s uses no metric", by)
		}
		for _, name := range names {
			if !exist[name] && !exist[strings.TrimSuffix(name, "_bucket")] {
				t.Errorf("%s uses %s, which does not exist; there are %v", by, name, slices.Sorted(maps.Keys(exist)))
			}
		}
	}
}

// readDashboard returns the expressions of each panel.
func readDashboard(t *testing.T) map[string][]string {
	t.Helper()
	var board struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	kit.Must(t, json.Unmarshal(read(t, dashboard), &board))
	panels := map[string][]string{}
	for _, p := range board.Panels {
		if p.Type == "row" {
			continue
		}
		if panels[p.Title] != nil {
			t.Errorf("%s has two panels %q", dashboard, p.Title)
		}
		for _, target := range p.Targets {
			panels[p.Title] = append(panels[p.Title], target.Expr)
		}
	}
	if len(panels) < 10 {
		t.Fatalf("%s has the panels %v, want ten at least", dashboard, panels)
	}
	return panels
}

// Each rule has a case in which it fires and one in which it does not; promtool runs them.
func TestEveryRuleIsTestedBothWays(t *testing.T) {
	var file struct {
		Tests []struct {
			AlertRuleTest []struct {
				AlertName string           `json:"alertname"`
				ExpAlerts []map[string]any `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		} `json:"tests"`
	}
	kit.Must(t, yaml.Unmarshal(read(t, ruleTests), &file))
	fires, silent := map[string]int{}, map[string]int{}
	for _, test := range file.Tests {
		for _, c := range test.AlertRuleTest {
			if len(c.ExpAlerts) > 0 {
				fires[c.AlertName]++
			} else {
				silent[c.AlertName]++
			}
		}
	}
	for _, r := range readRules(t).alerts() {
		if fires[r.Alert] == 0 || silent[r.Alert] == 0 {
			t.Errorf("%s: %d cases fire and %d do not, want one of each at least", r.Alert, fires[r.Alert], silent[r.Alert])
		}
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	kit.Must(t, err)
	return text
}
