package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// checkTable is what check prints of a fresh installation, as docs/commands.md shows it.
const checkTable = `CHECK          STATUS   MESSAGE
version        ok       replicas run VERSION (image sts-webhook:latest), as does this program
replicas       ok       2 of 2 ready on 2 nodes
trust          ok       a pod created as a dry run in namespace default got its nodeSelector
statefulsets   ok       a StatefulSet with a mistake, created as a dry run in namespace default, was refused
certificates   ok       CA until DATE, serving certificate until DATE; next step: renew on DATE
caBundle       ok       3 entries with the CA of the Secret
rbac           ok       service account custom-system/sts-webhook has the rights that its flags need
gate           ok       off; no pod is waiting behind it
alerts         ok       off: Secret custom-system/sts-webhook-dingtalk does not exist
`

// sameEverywhere replaces dates, and the version that the test was built as.
func sameEverywhere(table string) string {
	table = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d UTC`).ReplaceAllString(table, "DATE")
	return regexp.MustCompile(`replicas run \S+ \(image`).ReplaceAllString(table, "replicas run VERSION (image")
}

// The document shows what check prints on a real cluster, where testCheck compares the same table.
func TestDocumentShowsWhatCheckPrints(t *testing.T) {
	content, err := os.ReadFile("../../docs/commands.md")
	kit.Must(t, err)
	if text := sameEverywhere(string(content)); !strings.Contains(text, "$ sts-webhook check\n"+checkTable+"```\n") {
		t.Errorf("docs/commands.md does not show the table of check:\n%s", checkTable)
	}
}

// testCheckBefore looks at the empty cluster.
func (s *suite) testCheckBefore(t *testing.T) {
	info, err := s.Client.Discovery().ServerVersion()
	kit.Must(t, err)
	wantOK, wantEnd := 5, "5 checks: 0 problems, 0 warnings\n"
	if version.MustParseGeneric(info.GitVersion).LessThan(version.MustParseGeneric("1.36")) { // the gate's policy is missing
		wantOK, wantEnd = 4, "5 checks: 0 problems, 1 warning\n"
	}
	stdout, stderr, code := s.runPlugin(t, "check", "--pre")
	if code != 0 || strings.Count(stdout, "   ok   ") != wantOK || stderr != wantEnd {
		t.Errorf("got exit code %d, stdout %q, stderr %q, want %d times ok and %q", code, stdout, stderr, wantOK, wantEnd)
	}
}

func (s *suite) testCheck(t *testing.T) {
	stdout, stderr, code := s.runPlugin(t, "check")
	if diff := cmp.Diff(checkTable, sameEverywhere(stdout)); diff != "" {
		t.Errorf("stdout differs (-want +got):\n%s", diff)
	}
	if code != 0 || stderr != "9 checks: 0 problems, 0 warnings\n" {
		t.Errorf("got exit code %d, stderr %q, want no problem", code, stderr)
	}
}

// checked is a line of check.
type checked struct{ Check, Status, Message, Todo string }

// runCheck returns the lines that are not ok, by their check.
func (s *suite) runCheck(t *testing.T) (notOK map[string]checked, code int) {
	t.Helper()
	stdout, _, code := s.runPlugin(t, "check", "-o", "json")
	var lines []checked
	kit.Must(t, json.Unmarshal([]byte(stdout), &lines))
	notOK = map[string]checked{}
	for _, line := range lines {
		if line.Status != "ok" {
			notOK[line.Check] = line
		}
	}
	return notOK, code
}

// testCheckProblems takes the replicas away, then the apiserver's trust and the rights, and brings everything back.
func (s *suite) testCheckProblems(t *testing.T) {
	kit.Must(t, s.within(func(ctx context.Context) error { return s.Scale(ctx, 0) }))
	foreign, err := s.Client.CoreV1().ConfigMaps("default").Get(s.Ctx, "kube-root-ca.crt", metav1.GetOptions{})
	kit.Must(t, err)
	patch := fmt.Sprintf(`[{"op":"replace","path":"/webhooks/0/clientConfig/caBundle","value":%q}]`, base64.StdEncoding.EncodeToString([]byte(foreign.Data["ca.crt"])))
	s.Kubectl(t, "patch", "mutatingwebhookconfiguration", webhook.Configuration, "--type=json", "--patch="+patch)
	s.Kubectl(t, "delete", "clusterrolebinding", "sts-webhook")
	notOK, code := s.runCheck(t)
	for check, want := range map[string]checked{
		"replicas": {"", "problem", "0 of 0 ready", "kubectl -n custom-system scale deployment/sts-webhook --replicas=2"},
		"trust":    {"", "problem", "the apiserver cannot call the webhook: ", "kubectl -n custom-system describe pods"},
		"caBundle": {"", "problem", "the caBundle of sts-webhook.custom-system.svc in sts-mutating-webhook does not hold the CA of the Secret", "kubectl -n custom-system logs"},
		"rbac":     {"", "problem", "get, list, watch and update mutatingwebhookconfigurations", "kubectl apply -f manifests/10-rbac.yaml"},
		// Without a replica StatefulSets are stored unchecked.
		"statefulsets": {"", "warning", "a StatefulSet with a mistake is accepted", "see the line of trust"},
		"version":      {"", "warning", "no pod runs the container sts-webhook", ""},
	} {
		if got := notOK[check]; got.Status != want.Status || !strings.Contains(got.Message, want.Message) || !strings.Contains(got.Todo, want.Todo) {
			t.Errorf("%s: got %+v, want %+v", check, got, want)
		}
	}
	if code != 1 || len(notOK) != 6 {
		t.Errorf("got exit code %d, %d lines that are not ok, want 1, 6", code, len(notOK))
	}
	out, err := s.Apply(s.Ctx) // the Role's binding, and two replicas
	kit.Must(t, err)
	t.Logf("%s", out)
	stdout, stderr, code := s.runPlugin(t, "check", "--wait")
	if code != 0 || strings.Contains(stdout, "problem") || !strings.Contains(stderr, "waiting: ") {
		t.Errorf("got exit code %d, stdout %q, stderr %q, want it to wait until there is no problem", code, stdout, stderr)
	}
	kit.Must(t, s.within(s.WaitRollout))
	if notOK, code := s.runCheck(t); code != 0 || len(notOK) > 0 {
		t.Errorf("got exit code %d, %+v, want everything to be ok again", code, notOK)
	}
}
