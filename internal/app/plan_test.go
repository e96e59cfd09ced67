package app

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// zonesYAML is a StatefulSet web of three pods with that rule, in shop.
func zonesYAML(rule string) string {
	return `apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  replicas: 3
  template:
    metadata:
      labels: {ab-build-different: "true"}
      annotations: {custom-node-selector: '` + rule + `'}
`
}

// write puts text into a file and returns its name.
func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// runPlan runs the command with text as standard input.
func runPlan(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	c := newPlan()
	c.stdin = strings.NewReader(stdin)
	var groups flagGroups
	c.addFlags(&groups)
	if err := parse(groups.all("plan"), args, c); err != nil {
		t.Fatal(err)
	}
	if err := c.run(t.Context(), &out, &errs); err != nil {
		return exitFailure, out.String(), errs.String() + err.Error() + "\n"
	}
	return exitOK, out.String(), errs.String()
}

func TestPlanPrintsRowsAndProblems(t *testing.T) {
	const two, three, gap = `{"key":"zone","values":["a","b"]}`, `{"key":"zone","values":["a","b","c"]}`, `{"key":"zone","ordinals":{"0":"a"}}`
	const table = "NAMESPACE   STATEFULSET   ORDINAL   NODE SELECTOR   PREFERRED   TOLERATIONS\n"
	const noValue = `has no value for ordinal`
	file := write(t, zonesYAML(two))
	for sentence, c := range map[string]struct {
		stdin          string
		args           []string
		code           int
		stdout, stderr string
	}{
		"a table from a file": {``, []string{"-f", file}, exitOK,
			table + "default     web           0         zone=a          <none>      <none>\ndefault     web           1         zone=b          <none>      <none>\ndefault     web           2         zone=a          <none>      <none>\n",
			"1 StatefulSet with 3 pods; passed over: 1 Service\n"},
		"a table from standard input, in a namespace": {zonesYAML(gap), []string{"-f-", "-n", "shop"}, exitFailure,
			table + "shop        web           0         zone=a          <none>      <none>\nshop        web           1         <refused>       <none>      <none>\nshop        web           2         <refused>       <none>      <none>\n",
			`error: statefulset shop/web: spec.template.metadata.annotations[custom-node-selector]: field "ordinals" ` + noValue + ` 1, and there is no "default"; add the ordinal, or a default; write {"key": "<node label>", "ordinals": {"0": "<value>", "1-2,5": "<value>"}, "default": "<value for all others>"}` + "\n" +
				`error: statefulset shop/web: spec.template.metadata.annotations[custom-node-selector]: field "ordinals" ` + noValue + ` 2, and there is no "default"; add the ordinal, or a default; write {"key": "<node label>", "ordinals": {"0": "<value>", "1-2,5": "<value>"}, "default": "<value for all others>"}` + "\n" +
				"1 StatefulSet with 3 pods; passed over: 1 Service\n2 errors\n"},
		"what moves": {zonesYAML(three), []string{"-f", "-", "--diff=" + file}, exitOK,
			"NAMESPACE   STATEFULSET   ORDINAL   CHANGE   FROM     TO\ndefault     web           2         moved    zone=a   zone=c\n", "moved: 1 of 3 pods\n"},
		"what moves, and what is wrong": {zonesYAML(gap), []string{"-f", "-", "-o", "json", "--diff=" + write(t, zonesYAML(gap))}, exitFailure, "[]\n",
			`error: statefulset default/web: spec.template.metadata.annotations[custom-node-selector]: field "ordinals" ` + noValue + ` 1, and there is no "default"; add the ordinal, or a default; write {"key": "<node label>", "ordinals": {"0": "<value>", "1-2,5": "<value>"}, "default": "<value for all others>"}` + "\n" +
				`error: statefulset default/web: spec.template.metadata.annotations[custom-node-selector]: field "ordinals" ` + noValue + ` 2, and there is no "default"; add the ordinal, or a default; write {"key": "<node label>", "ordinals": {"0": "<value>", "1-2,5": "<value>"}, "default": "<value for all others>"}` + "\n2 errors\n"},
		"several files and nothing opted in": {"apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: plain}\n", []string{"-f", write(t, ""), "-f", "-"}, exitOK, "",
			"0 StatefulSets with 0 pods; passed over: 1 StatefulSet without the label\n"},
		"a file that is missing":   {``, []string{"-f", "/does/not/exist"}, exitFailure, "", "read StatefulSets: open /does/not/exist: no such file or directory\n"},
		"a --diff that is missing": {zonesYAML(two), []string{"-f-", "--diff=/does/not/exist"}, exitFailure, "", "read StatefulSets: open /does/not/exist: no such file or directory\n"},
		"what is no object":        {"kind: Pod\n", []string{"-f-"}, exitFailure, "", "read standard input: read document 1: it is no Kubernetes object: apiVersion or kind is missing\n"},
	} {
		t.Run(sentence, func(t *testing.T) {
			code, stdout, stderr := runPlan(t, c.stdin, c.args...)
			if code != c.code {
				t.Errorf("got exit code %d, want %d", code, c.code)
			}
			if diff := cmp.Diff(c.stdout, stdout); diff != "" {
				t.Errorf("stdout differs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.stderr, stderr); diff != "" {
				t.Errorf("stderr differs (-want +got):\n%s", diff)
			}
		})
	}
}

// A warning stands in the rows of json and does not fail the command.
func TestPlanWarnsWithoutFailing(t *testing.T) {
	warned := strings.Replace(zonesYAML(`{"key":"zone","values":["a"]}`), `labels: {ab-build-different: "true"}`, `labels: {}`, 1)
	for format, c := range map[string]struct{ stdout, stderr string }{
		"table": {"<none>", "warning: statefulset default/web: spec.template.metadata.labels[ab-build-different]: "},
		"wide":  {"warning: spec.template.metadata.labels[ab-build-different]: ", "1 StatefulSet with 3 pods"},
		"json":  {`"severity": "warning"`, ""},
		"yaml":  {`severity: warning`, ""},
	} {
		code, stdout, stderr := runPlan(t, warned, "-f-", "-o", format)
		if code != exitOK || !strings.Contains(stdout, c.stdout) || !strings.HasPrefix(stderr, c.stderr) || c.stderr == "" && stderr != "" {
			t.Errorf("%s: got exit code %d, stdout %q, stderr %q", format, code, stdout, stderr)
		}
	}
}

func TestPlanTakesWhatTheWebhookWasStartedWith(t *testing.T) {
	text := zonesYAML(`{"key":"zone","values":["a"]}`) + "    spec: {nodeSelector: {disk: ssd}}\n"
	for existing, want := range map[string]string{"merge": "disk=ssd,zone=a ", "replace": " zone=a "} {
		if _, stdout, _ := runPlan(t, text, "-f-", "--existing-selector="+existing); !strings.Contains(stdout, want) {
			t.Errorf("%s: got %q, want %q in it", existing, stdout, want)
		}
	}
}

func TestMistakesOfPlan(t *testing.T) {
	for want, args := range map[string][]string{
		"--filename: give a file, - for standard input": {"plan"},
		"standard input can be read only once":          {"plan", "-f-", "--diff=-"},
		"--output=xml: must be one of table":            {"plan", "-f-", "-o", "xml"},
		"--namespace=A_B":                               {"plan", "-f-", "-n", "A_B"},
		"--existing-selector=keep: must be merge or":    {"plan", "-f-", "--existing-selector=keep"},
		"unexpected argument \"old.yaml\"":              {"plan", "-f-", "old.yaml"},
	} {
		var out, errs bytes.Buffer
		if code := Run(t.Context(), args, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), want) {
			t.Errorf("%v: got exit code %d, stderr %q, want %q", args, code, errs.String(), want)
		}
	}
}

func TestHelpOfPlan(t *testing.T) {
	var out, errs bytes.Buffer
	if code := Run(t.Context(), []string{"plan", "--help"}, &out, &errs); code != exitOK || !strings.Contains(out.String(), "-f, --filename") {
		t.Errorf("got exit code %d, stdout %q, stderr %q", code, out.String(), errs.String())
	}
}
