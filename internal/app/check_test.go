package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"sts-mutating-webhook/internal/check"
	"sts-mutating-webhook/internal/rotator"
)

// bareApiserver has nothing in it for so many looks, then it forbids everything, which is no problem. looks counts.
func bareApiserver(t *testing.T, empty int64) (url string, looks *atomic.Int64) {
	t.Helper()
	looks = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		status := metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: 404, Reason: "NotFound", Message: "not found"}
		switch {
		case r.URL.Path == "/version":
			looks.Add(1)
			fmt.Fprint(w, `{"gitVersion": "v1.36.0"}`)
			return
		case looks.Load() > empty:
			status.Code, status.Reason, status.Message = 403, "Forbidden", "forbidden"
		}
		w.WriteHeader(int(status.Code))
		_ = json.NewEncoder(w).Encode(status)
	}))
	t.Cleanup(server.Close)
	return server.URL, looks
}

func kubeconfigFor(t *testing.T, url string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"clusters": [{"name": "c", "cluster": {"server": %q}}], "contexts": [{"name": "c", "context": {"cluster": "c"}}], "current-context": "c"}`, url)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCheckTellsProblemsFromWhatItCannotReach(t *testing.T) {
	empty, _ := bareApiserver(t, 1000)
	forbidding, _ := bareApiserver(t, 0)
	refused := httptest.NewServer(nil)
	refused.Close()
	for name, c := range map[string]struct {
		args             []string
		code             int
		stdout, onStderr string
	}{
		"problems":                {[]string{"--kubeconfig=" + kubeconfigFor(t, empty)}, exitFailure, "Deployment custom-system/sts-webhook does not exist; kubectl apply -f manifests/", "sts-webhook check: 9 checks: 3 problems, 5 warnings"},
		"warnings":                {[]string{"--kubeconfig=" + kubeconfigFor(t, forbidding)}, exitOK, "it is forbidden to get Deployment", "9 checks: 0 problems, 9 warnings"},
		"before an installation":  {[]string{"--pre", "--kubeconfig=" + kubeconfigFor(t, empty)}, exitFailure, "none of the 16 names is taken", "5 checks: 1 problem, 1 warning"},
		"no kubeconfig":           {[]string{"--kubeconfig=/does/not/exist"}, exitUsage, "", "/does/not/exist"},
		"connection refused":      {[]string{"--kubeconfig=" + kubeconfigFor(t, refused.URL)}, exitUsage, "", "reach the apiserver: Get \"" + refused.URL + "/version"},
		"a namespace not sent":    {[]string{"-n", "custom-system"}, exitUsage, "", "--namespace=custom-system: the webhook is not called for it"},
		"no namespace":            {[]string{"-n", "A"}, exitUsage, "", "--namespace=A"},
		"waiting before there is": {[]string{"--pre", "--wait"}, exitUsage, "", "--wait=2m0s: does not go with --pre"},
		"a negative wait":         {[]string{"--wait=-1s"}, exitUsage, "", "--wait=-1s: must not be negative"},
		"an unknown format":       {[]string{"-o", "name"}, exitUsage, "", "--output=name"},
		"an argument":             {[]string{"now"}, exitUsage, "", `unexpected argument "now"`},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := Run(t.Context(), append([]string{"check"}, c.args...), &out, &errs)
			if code != c.code || !strings.Contains(out.String(), c.stdout) || c.stdout == "" && out.Len() > 0 || !strings.Contains(errs.String(), c.onStderr) {
				t.Errorf("got exit code %d, stdout %q, stderr %q; want %d, %q, %q", code, out.String(), errs.String(), c.code, c.stdout, c.onStderr)
			}
		})
	}
}

func TestCheckPrintsJSON(t *testing.T) {
	url, _ := bareApiserver(t, 1000)
	var out, errs bytes.Buffer
	Run(t.Context(), []string{"check", "-o", "json", "--kubeconfig=" + kubeconfigFor(t, url)}, &out, &errs)
	var results []map[string]string
	if err := json.Unmarshal(out.Bytes(), &results); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range results {
		names = append(names, r["check"])
	}
	if want := []string{"version", "replicas", "trust", "statefulsets", "certificates", "caBundle", "rbac", "gate", "alerts"}; !slices.Equal(names, want) {
		t.Errorf("checks: got %v, want %v", names, want)
	}
}

// checkAt runs the command without a pause between looks.
func checkAt(t *testing.T, url string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	c := newCheck()
	c.interval = time.Millisecond
	c.dial = func() (*check.Cluster, error) { return check.Connect(&rest.Config{Host: url}) }
	var groups flagGroups
	c.addFlags(&groups)
	if err := parse(groups.all("check"), args, c); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	err = c.run(t.Context(), &out, &errs)
	return out.String(), errs.String(), err
}

func TestCheckWaitsUntilThereIsNoProblem(t *testing.T) {
	url, looks := bareApiserver(t, 3)
	stdout, stderr, err := checkAt(t, url, "--wait")
	if err != nil || looks.Load() != 4 || strings.Count(stdout, "CHECK ") != 1 {
		t.Errorf("got %v after %d looks, stdout %q, want the fourth look to be printed alone", err, looks.Load(), stdout)
	}
	if n := strings.Count(stderr, "waiting: "); n != 1 || !strings.Contains(stderr, "replicas: Deployment custom-system/sts-webhook does not exist; certificates: ") {
		t.Errorf("stderr %q, want what it waits for, once", stderr)
	}
}

func TestCheckWaitsNoLongerThanItIsMeantTo(t *testing.T) {
	url, looks := bareApiserver(t, 1<<60)
	stdout, _, err := checkAt(t, url, "--wait=1s")
	if err == nil || looks.Load() < 2 || !strings.Contains(stdout, "problem") {
		t.Errorf("got %v after %d looks, stdout %q, want several looks and the problems of the last", err, looks.Load(), stdout)
	}
	url, looks = bareApiserver(t, 1<<60)
	if _, _, err = checkAt(t, url); err == nil || looks.Load() != 1 {
		t.Errorf("without --wait: got %v after %d looks, want one", err, looks.Load())
	}
}

func TestCheckReadsTheFlagsOfTheContainer(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "")
	year := 365 * 24 * time.Hour
	defaults := check.Flags{Policy: rotator.Policy{CADuration: 10 * year, CertDuration: year, CAOverlap: 24 * time.Hour, RotationCheck: 20 * time.Second}, Events: true, CheckNodes: true}
	defaults.AlertURLFile = "/etc/sts-webhook/dingtalk/url"
	changed := defaults
	changed.Policy.CADuration, changed.Events, changed.CheckVolume, changed.AlertURLFile = 720*time.Hour, false, true, "/robot"
	for _, c := range []struct {
		args []string
		want check.Flags
		fail bool
	}{
		{nil, defaults, false},
		{[]string{"--ca-duration=720h", "--events=false", "--check-volumes", "--dingtalk-url-file=/robot"}, changed, false},
		{[]string{"--events=false", "--of-a-later-version"}, defaults, true},
	} {
		if got, err := flagsOf(c.args); got != c.want || (err != nil) != c.fail {
			t.Errorf("%v: got %+v, %v, want %+v, error %v", c.args, got, err, c.want, c.fail)
		}
	}
}
