package app

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// replayOf runs the command with text as standard input.
func replayOf(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	c := &replayCommand{stdin: strings.NewReader(stdin)}
	var groups flagGroups
	c.addFlags(&groups)
	if err := parse(groups.all("replay"), args, c); err != nil {
		return exitUsage, "", err.Error()
	}
	if err := c.run(t.Context(), &out, &errs); err != nil {
		return exitFailure, out.String(), errs.String() + err.Error() + "\n"
	}
	return exitOK, out.String(), errs.String()
}

// auditEvent is a decision about a pod that was sent with that node selector, and got that value.
func auditEvent(name, value, selector string) string {
	return `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"1","stage":"ResponseComplete","verb":"create",` +
		`"requestReceivedTimestamp":"2026-01-02T03:04:05Z","objectRef":{"resource":"pods","namespace":"shop"},"requestObject":{"metadata":{"name":"` + name + `",` +
		`"labels":{"ab-build-different":"true"},"annotations":{"custom-node-selector":"{\"key\":\"zone\",\"values\":[\"a\",\"b\"]}"},` +
		`"ownerReferences":[{"apiVersion":"apps/v1","kind":"StatefulSet","name":"web","controller":true}]},"spec":{"nodeSelector":{` + selector + `}}},` +
		`"annotations":{"mutation.webhook.admission.k8s.io/round_0_index_0":"{\"webhook\":\"sts-webhook.custom-system.svc\"}",` +
		`"patch.webhook.admission.k8s.io/round_0_index_0":"{\"patch\":[{\"op\":\"add\",\"path\":\"/spec/nodeSelector/zone\",\"value\":\"` + value + `\"}]}"}}` + "\n"
}

func TestReplay(t *testing.T) {
	const nothing = "no decision of the webhook with its pod is in the log, so nothing is known; log the creation of pods at level Request\n"
	stays, changes := auditEvent("web-0", "a", ""), auditEvent("web-1", "x", "")
	for sentence, c := range map[string]struct {
		stdin          string
		args           []string
		code           int
		stdout, stderr string
	}{
		"nothing changes":             {stays + stays, []string{"-"}, exitOK, "", "0 of 2 decisions change\n"},
		"nothing changes, in JSON":    {stays, []string{"-", "-o", "json"}, exitOK, "[]\n", "0 of 1 decisions change\n"},
		"one changes":                 {stays + changes, []string{"-"}, exitFailure, "NAMESPACE   POD     FROM     TO\nshop        web-1   zone=x   zone=b\n", "1 of 2 decisions change\n"},
		"one changes, with its time":  {changes, []string{"-", "-o", "wide"}, exitFailure, "NAMESPACE   POD     FROM     TO       TIME                   AUDIT ID   DENIAL\nshop        web-1   zone=x   zone=b   2026-01-02T03:04:05Z   1          <none>\n", "1 of 1 decisions change\n"},
		"several files":               {stays, []string{write(t, changes), "-"}, exitFailure, "NAMESPACE   POD     FROM     TO\nshop        web-1   zone=x   zone=b\n", "1 of 2 decisions change\n"},
		"what it was started with":    {auditEvent("web-0", "a", `"os":"linux"`), []string{"-", "--existing-selector=replace"}, exitFailure, "NAMESPACE   POD     FROM              TO\nshop        web-0   os=linux,zone=a   zone=a\n", "1 of 1 decisions change\n"},
		"an empty log proves nothing": {"", []string{"-"}, exitFailure, "", nothing},
		"nor does one of other lines": {"no JSON\n", []string{"-"}, exitFailure, "", "passed over: 1 lines that are no audit event of audit.k8s.io/v1, or only a part of one (first at standard input:1)\n" + nothing},
		"what is escaped":             {auditEvent(`\u001b[2J`, "a", ""), []string{"-"}, exitFailure, "NAMESPACE   POD         FROM     TO\nshop        \"\\x1b[2J\"   zone=a   <denied>\n", "1 of 1 decisions change\n"},
		"a file that is missing":      {"", []string{"/does/not/exist"}, exitFailure, "", "read audit log: open /does/not/exist: no such file or directory\n"},
		"a directory":                 {"", []string{t.TempDir() + "/"}, exitFailure, "", ""},
		"no file":                     {"", nil, exitUsage, "", "no audit log: give files, or - for standard input"},
		"standard input twice":        {"", []string{"-", "-"}, exitUsage, "", "-: standard input can be read only once"},
		"a wrong flag":                {"", []string{"-", "--default-statefulset=A B", "-o", "xml"}, exitUsage, "", "--default-statefulset=A B: a lowercase RFC 1123 subdomain must consist"},
	} {
		t.Run(sentence, func(t *testing.T) {
			code, stdout, stderr := replayOf(t, c.stdin, c.args...)
			if code != c.code {
				t.Errorf("got exit code %d, want %d", code, c.code)
			}
			if diff := cmp.Diff(c.stdout, stdout); diff != "" {
				t.Errorf("stdout differs (-want +got):\n%s", diff)
			}
			if sentence == "a directory" || code == exitUsage {
				if !strings.HasPrefix(stderr, c.stderr) || stderr == "" {
					t.Errorf("got stderr %q, want %q", stderr, c.stderr)
				}
				return
			}
			if diff := cmp.Diff(c.stderr, stderr); diff != "" {
				t.Errorf("stderr differs (-want +got):\n%s", diff)
			}
		})
	}
}

// Every decision is counted, and only so many listed that a log of any size fits into memory.
func TestReplayListsABoundedNumberOfChanges(t *testing.T) {
	code, stdout, stderr := replayOf(t, strings.Repeat(auditEvent("web-1", "x", ""), maxChanges+7), "-")
	want := "not listed: 7 changes more\n10,007 of 10,007 decisions change\n"
	if n := strings.Count(stdout, "\n"); code != exitFailure || n != maxChanges+1 || stderr != want {
		t.Errorf("got exit code %d, %d lines, stderr %q, want %q", code, n, stderr, want)
	}
}

func TestAPluginIsNamedAsKubectlCallsIt(t *testing.T) {
	for executable, want := range map[string]string{
		"/usr/local/bin/kubectl-sts_webhook": "kubectl sts-webhook", "/sts-webhook": "sts-webhook", "bin/sts-webhook": "sts-webhook", "": "sts-webhook",
	} {
		if got := programName(executable); got != want {
			t.Errorf("%q: got %q, want %q", executable, got, want)
		}
	}
	lines := strings.Split(usageOf("kubectl sts-webhook"), "\n")
	for _, line := range lines[3 : len(lines)-1] {
		if !strings.HasPrefix(line, "  kubectl sts-webhook ") {
			t.Errorf("usage has %q, want it to begin with the plugin's name", line)
		}
	}
}
