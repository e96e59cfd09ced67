package app

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// optionsTable renders the flags of serve as the README shows them.
func optionsTable() string {
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	flags.SortFlags = false
	newServe().addFlags(flags)
	var b strings.Builder
	b.WriteString("| flag | default | meaning |\n|---|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value := f.DefValue
		switch {
		case value == "[]" || value == "":
			value = ""
		default:
			value = "`" + strings.Trim(value, "[]") + "`"
		}
		fmt.Fprintf(&b, "| `--%s` | %s | %s |\n", f.Name, value, f.Usage)
	})
	return b.String()
}

const (
	tableBegin = "<!-- options: begin -->\n"
	tableEnd   = "<!-- options: end -->"
	readme     = "../../README.md"
)

// Run with UPDATE_README=1 to write the table.
func TestTheREADMEShowsTheOptions(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "")
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("README.md lacks %q or %q", tableBegin, tableEnd)
	}
	want := before + tableBegin + optionsTable() + tableEnd + after
	if want == string(text) {
		return
	}
	if os.Getenv("UPDATE_README") == "" {
		t.Fatal("the options table of README.md is not that of the flags: UPDATE_README=1 go test ./internal/app")
	}
	if err := os.WriteFile(readme, []byte(want), 0o644); err != nil {
		t.Fatal(err)
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
