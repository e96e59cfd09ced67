package helm

import (
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"sigs.k8s.io/yaml"
)

// No message and no note holds the address of a robot.
func TestSecretsAreNotPrinted(t *testing.T) {
	got, err := render(t, "default", "alerts.url=https://robot", "alerts.secret=SEC1")
	must(t, err)
	for _, secret := range []string{"https://robot", "SEC1", "aHR0cHM6Ly9yb2JvdA==", "U0VDMQ=="} {
		if strings.Contains(got.notes, secret) {
			t.Errorf("the notes hold %q:\n%s", secret, got.notes)
		}
		for key, object := range got.objects {
			text, _ := yaml.Marshal(object)
			if key != "Secret custom-system/sts-webhook-dingtalk" && strings.Contains(string(text), secret) {
				t.Errorf("%s holds %q", key, secret)
			}
		}
	}
	for _, settings := range [][]string{{"alerts.url=12345678"}, {"alerts.url=u", "alerts.secret=12345678"}, {"alerts.secret=S12345678"}, {"alerts.url=u12345678", "alerts.existingSecret=mine"}} {
		if _, err := render(t, "default", settings...); err == nil || strings.Contains(err.Error(), "12345678") {
			t.Errorf("--set %v: got error %v, want one without the value", settings, err)
		}
	}
}

func TestNotes(t *testing.T) {
	for _, c := range []struct {
		namespace string
		settings  []string
		want      string
	}{
		{"default", nil, "    sts-webhook check --wait\n"},
		{"default", nil, "The release is recorded in namespace default."},
		{"custom-system", nil, "kubectl label namespace custom-system pod-security.kubernetes.io/enforce=restricted"},
		{"default", []string{"replicas=1"}, "WARNING: with one replica"},
		{"default", []string{"podDisruptionBudget.minAvailable=2"}, "WARNING: podDisruptionBudget.minAvailable is not below replicas"},
		{"default", []string{"alerts.url=u"}, "WARNING: the address of the DingTalk robot is in the values"},
	} {
		got, err := render(t, c.namespace, c.settings...)
		must(t, err)
		if !strings.Contains(got.notes, c.want) || len(c.settings) == 0 && strings.Contains(got.notes, "WARNING") {
			t.Errorf("%s, --set %v: got the notes\n%s\nwant %q, and no other warning", c.namespace, c.settings, got.notes, c.want)
		}
	}
}

func TestLint(t *testing.T) {
	for _, m := range lint.RunAll(directory, nil, "default").Messages {
		if !strings.Contains(m.Error(), "icon is recommended") {
			t.Error(m)
		}
	}
}

// README.md of the chart has a row for each value, with its default, and no other.
func TestReadmeListsTheValues(t *testing.T) {
	content, err := os.ReadFile(directory + "/README.md")
	must(t, err)
	want := leaves("", load(t).Values)
	got := map[string]string{}
	for line := range strings.Lines(string(content)) {
		if cells := strings.Split(line, " | "); strings.HasPrefix(line, "| `") && len(cells) == 3 {
			got[strings.Trim(cells[0], "|` ")] = strings.Trim(cells[1], "` ")
		}
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("the table of values (-values.yaml +README.md):\n%s", diff)
	}
}

// leaves are the values by their paths, as JSON.
func leaves(path string, values map[string]any) map[string]string {
	all := map[string]string{}
	for key, value := range values {
		if inner, isObject := value.(map[string]any); isObject && len(inner) > 0 {
			maps.Copy(all, leaves(path+key+".", inner))
			continue
		}
		text, _ := json.Marshal(value)
		all[path+key] = string(text)
	}
	return all
}

// The file holds Kubernetes' minimum once more; check --pre has the same.
func TestChartNamesTheLowestKubernetes(t *testing.T) {
	code, err := os.ReadFile(repository + "/internal/check/pre.go")
	must(t, err)
	lowest := strings.TrimSuffix(strings.TrimPrefix(load(t).Metadata.KubeVersion, ">="), ".0-0")
	if !strings.Contains(string(code), `MustParseGeneric("`+lowest+`") // matchConditions`) {
		t.Errorf("Chart.yaml says %q, internal/check/pre.go another version", load(t).Metadata.KubeVersion)
	}
}
