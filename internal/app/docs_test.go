package app

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"sts-mutating-webhook/internal/mutator"
	"sts-mutating-webhook/internal/rotator"
	"sts-mutating-webhook/internal/server"
	"sts-mutating-webhook/test/document"
)

// foreignFlags are those of other programs that the documents name.
var foreignFlags = []string{
	"--all-pods", "--audit-log-truncate-max-event-size", "--encryption-provider-config", "--field-selector", "--from-file", "--from-literal",
	"--max-request-bytes", "--node-monitor-grace-period", "--overwrite", "--platform", "--previous", "--replicas", "--show-managed-fields",
	"--since", "--version",
}

func TestDocumentsNameRealFlags(t *testing.T) {
	known := map[string]bool{}
	for _, name := range foreignFlags {
		known[name] = true
	}
	for _, name := range commandNames {
		var groups flagGroups
		newCommand(name).addFlags(&groups)
		groups.all(name).VisitAll(func(f *pflag.Flag) { known["--"+f.Name] = true })
	}
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || files == nil {
		t.Fatalf("found %v, %v", files, err)
	}
	for _, file := range append(files, "../../README.md", "../../README.zh-CN.md", "../../SECURITY.md", "../../CHANGELOG.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?:^|[\\s(`])(--[a-z][a-z-]+[a-z])").FindAllStringSubmatch(string(text), -1) {
			if !known[m[1]] {
				t.Errorf("%s names the flag %s, which no command has", file, m[1])
			}
		}
	}
}

// Whatever a denial or an event is called is explained.
func TestManualExplainsEveryReason(t *testing.T) {
	text, err := os.ReadFile("../../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range slices.Concat(mutator.Reasons(), rotator.Reasons()) {
		if !strings.Contains(string(text), "`"+reason+"`") {
			t.Errorf("docs/alerts.md does not explain %s", reason)
		}
	}
}

// Defaults that the documents repeat in sentences.
func TestDocumentsNameTheDefaults(t *testing.T) {
	var serve flagGroups
	c := newServe()
	c.addFlags(&serve)
	const year = 365 * 24
	for file, sentences := range map[string][]string{
		"docs/rotation.md": {
			fmt.Sprintf("`--ca-overlap` (%g h)", c.policy.CAOverlap.Hours()),
			fmt.Sprintf("`--ca-duration`, %g years", c.policy.CADuration.Hours()/year),
			fmt.Sprintf("`--cert-duration`, %g year,", c.policy.CertDuration.Hours()/year),
		},
		"docs/performance.md": {
			fmt.Sprintf("`--drain-delay` is %g s.", server.DefaultDrainDelay.Seconds()),
			fmt.Sprintf("A body is up to %d MiB", server.DefaultMaxBodyBytes>>20),
			fmt.Sprintf("above %d bodies of 3 MiB at once", server.DefaultBodyBudget*3/4/(3<<20)),
		},
		"SECURITY.md": {
			fmt.Sprintf("The CA lives for %g years (`--ca-duration`), the serving certificate for %g year (`--cert-duration`).",
				c.policy.CADuration.Hours()/year, c.policy.CertDuration.Hours()/year),
		},
		"docs/commands.md": {"at most 10,000; all are counted"},
	} {
		missing, err := document.Missing("../../"+file, sentences...)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range missing {
			t.Errorf("%s does not say: %s", file, m)
		}
	}
	if maxChanges != 10_000 {
		t.Errorf("docs/commands.md says that 10,000 changes are listed, maxChanges is %d", maxChanges)
	}
}
