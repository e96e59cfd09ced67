package app

import (
	"bytes"
	"flag"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

var update = flag.Bool("update", false, "write documents and testdata instead of comparing with them")

const optionsFile = "../../docs/options.md"

// TestOptionsAreDocumented holds docs/options.md, which is made of the flags:
// go test ./internal/app -run OptionsAreDocumented -update writes it.
func TestOptionsAreDocumented(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "")
	var page strings.Builder
	page.WriteString("# Options\n\nThe flags of each command. In the cluster they are the `args` of the Deployment's container. " +
		"The defaults are meant to be kept.\nWritten from the program's own flags; a test fails when the page differs.\n")
	for _, name := range commandNames {
		var groups flagGroups
		newCommand(name).addFlags(&groups)
		page.WriteString("\n## " + name + "\n" + groups.markdown())
	}
	if *update {
		if err := os.WriteFile(optionsFile, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(optionsFile)
	if err != nil {
		t.Fatal(err)
	}
	if page.String() != string(want) {
		t.Error("docs/options.md is not what the flags say: go test ./internal/app -run OptionsAreDocumented -update")
	}
}

func TestHelpOfACommandIsItsHelpFlag(t *testing.T) {
	for _, name := range commandNames {
		var flagged, named, errs bytes.Buffer
		if code := Run(t.Context(), []string{name, "--help"}, &flagged, &errs); code != exitOK {
			t.Fatalf("%s --help: exit code %d", name, code)
		}
		if code := Run(t.Context(), []string{"help", name}, &named, &errs); code != exitOK || errs.Len() > 0 {
			t.Errorf("help %s: exit code %d, stderr %q", name, code, errs.String())
		}
		if !strings.HasSuffix(flagged.String(), named.String()) || !strings.Contains(named.String(), "Flags of "+name+":\n\n") {
			t.Errorf("help %s prints\n%s\nwant what --help prints:\n%s", name, named.String(), flagged.String())
		}
	}
	var out, errs bytes.Buffer
	if code := Run(t.Context(), []string{"help", "nothing"}, &out, &errs); code != exitUsage || out.Len() > 0 || !strings.Contains(errs.String(), `unknown command "nothing"`) {
		t.Errorf("help nothing: exit code %d, stdout %q, stderr %q", code, out.String(), errs.String())
	}
}

func TestHelpShowsFlagsInGroups(t *testing.T) {
	var out bytes.Buffer
	Run(t.Context(), []string{"help", "serve"}, &out, io.Discard)
	at := 0
	for _, title := range []string{"General", "Placement", "Certificates", "Server", "DingTalk", "Alerts"} {
		next := strings.Index(out.String()[at:], "\n"+title+":\n")
		if next < 0 {
			t.Fatalf("no group %s after byte %d of\n%s", title, at, out.String())
		}
		at += next
	}
}

func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"--version"}, {"version"}} {
		var out, errs bytes.Buffer
		if code := Run(t.Context(), args, &out, &errs); code != exitOK || errs.Len() > 0 {
			t.Errorf("%v: exit code %d, stderr %q", args, code, errs.String())
		}
		if form := regexp.MustCompile(`^sts-webhook \S+( \([0-9a-f]{12}\))? go\S+ \w+/\w+\n$`); !form.MatchString(out.String()) {
			t.Errorf("%v printed %q", args, out.String())
		}
	}
	version = "v1.2.3"
	defer func() { version = "" }()
	if got := versionText(); !strings.HasPrefix(got, "sts-webhook v1.2.3") {
		t.Errorf("got %q, want what the linker set", got)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(newBuildInfo())
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "sts_webhook_build_info" || !strings.Contains(families[0].String(), `value:"v1.2.3"`) {
		t.Errorf("metrics are %v, %v, want sts_webhook_build_info with the version", families, err)
	}
}

// A11: an address in the wrong place must not reach a log of commands.
func TestA11AnAddressAsAnArgumentIsNotRepeated(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef"
	const address = "https://oapi.dingtalk.com/robot/send?access_token=" + token
	for _, args := range [][]string{
		{"alert-test", address}, {"alert-test", "--dingtalk-url-file=" + address}, {"alert-test", "--dingtalk-secret-file=SEC" + token}, {address},
		{"help", address}, {"alert-test", "--dingtalk-url-file", address}, {"alert-test", token},
	} {
		var out, errs bytes.Buffer
		if code := Run(t.Context(), args, &out, &errs); code != exitUsage || errs.Len() == 0 {
			t.Errorf("exit code %d, stderr %q, want %d", code, errs.String(), exitUsage)
		}
		if strings.Contains(out.String()+errs.String(), token) {
			t.Errorf("the token is printed: %s", errs.String())
		}
	}
}

func TestEveryMistakeIsOneLineAndExitCode2(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"no namespace": {nil, []string{"--namespace: required"}},
		"many mistakes at once": {
			[]string{"--namespace=Not_A_Label", "--v=11", "--existing-selector=keep", "--default-statefulset=A B", "--listen-address=8443", "--max-in-flight=0"},
			[]string{"--namespace=Not_A_Label", "--v=11", "--existing-selector=keep: must be merge or replace", "--default-statefulset=A B", "--listen-address=8443", "--max-in-flight=0"},
		},
		"durations that do not fit": {
			[]string{"--namespace=x", "--ca-duration=1h", "--drain-delay=30s", "--rotation-check=-1s"},
			[]string{"--drain-timeout=20s: must be longer than --drain-delay=30s", "--rotation-check=-1s: must be positive"},
		},
		"a CA that lives too short":   {[]string{"--namespace=x", "--ca-duration=1h"}, []string{"--cert-duration=8760h0m0s: must be at most --ca-duration=1h0m0s", "--ca-overlap=24h0m0s: must be at most 20m0s"}},
		"a check that comes too late": {[]string{"--namespace=x", "--cert-duration=1m"}, []string{"--rotation-check=20s: must be at most 10s"}},
		"a body budget too small":     {[]string{"--namespace=x", "--body-budget=1000"}, []string{"--body-budget=1000: must be at least"}},
		"alerts":                      {[]string{"--namespace=x", "--alert-on=everything", "--alert-language=fr"}, []string{"--alert-on=everything", "--alert-language=fr"}},
		"an unknown flag":             {[]string{"--namespace=x", "--loglevel=1"}, []string{"--loglevel"}},
		"an argument":                 {[]string{"serve", "now"}, []string{`unexpected argument "now"`}},
		"an unknown command":          {[]string{"server"}, []string{`unknown command "server"`}},
		"rotate without a timeout":    {[]string{"rotate", "--timeout=0s"}, []string{"--timeout=0s: must be positive"}},
		"alert-test takes no time":    {[]string{"alert-test", "--timeout=-1s"}, []string{"--timeout=-1s"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("POD_NAMESPACE", "")
			var out, errs bytes.Buffer
			if code := Run(t.Context(), c.args, &out, &errs); code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			for _, want := range c.want {
				found := false
				for line := range strings.Lines(errs.String()) {
					found = found || strings.Contains(line, want)
				}
				if !found {
					t.Errorf("no line of %q says %q", errs.String(), want)
				}
			}
			if out.Len() > 0 {
				t.Errorf("a mistake wrote %q to stdout", out.String())
			}
		})
	}
}

func TestHelpReadsWellAndEndsWell(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"--help"}, {"serve", "--help"}, {"rotate", "-h"}, {"alert-test", "--help"}} {
		var out, errs bytes.Buffer
		if code := Run(t.Context(), args, &out, &errs); code != exitOK || errs.Len() > 0 {
			t.Errorf("%v: exit code %d, stderr %q", args, code, errs.String())
		}
		if !strings.Contains(out.String(), "sts-webhook") && !strings.Contains(out.String(), "--timeout") {
			t.Errorf("%v printed %q", args, out.String())
		}
		if strings.Contains(out.String(), "clock-offset") {
			t.Errorf("%v shows a flag that is for tests", args)
		}
	}
}

func TestOutsideAClusterServeSaysWhatToGive(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("TMPDIR", t.TempDir())
	var out, errs bytes.Buffer
	args := []string{"--namespace=x", "--listen-address=127.0.0.1:0", "--health-address=127.0.0.1:0"}
	if code := Run(t.Context(), args, &out, &errs); code != exitFailure {
		t.Errorf("exit code %d, want %d", code, exitFailure)
	}
	if !strings.Contains(errs.String(), "outside a cluster give --kubeconfig") {
		t.Errorf("stderr %q", errs.String())
	}
}

func TestRotateNamesTheKubeconfigThatItCannotRead(t *testing.T) {
	var out, errs bytes.Buffer
	if code := Run(t.Context(), []string{"rotate", "--kubeconfig=/does/not/exist"}, &out, &errs); code != exitFailure {
		t.Errorf("exit code %d, want %d", code, exitFailure)
	}
	if !strings.Contains(errs.String(), "/does/not/exist") {
		t.Errorf("stderr %q", errs.String())
	}
}
