package alert

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sts-mutating-webhook/test/document"
)

const manualFile = "../../docs/alerts.md"

// firstCells are the code spans in the first column of the table under a heading of the manual.
func firstCells(t *testing.T, heading string) []string {
	t.Helper()
	text, err := os.ReadFile(manualFile)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/alerts.md has no section %s", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var names []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(section, -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			if !strings.HasPrefix(name[1], "--") { // the header
				names = append(names, name[1])
			}
		}
	}
	slices.Sort(names)
	return names
}

func TestManualListsTheReasonsOfFailures(t *testing.T) {
	if got, want := firstCells(t, "Troubleshooting"), slices.Sorted(maps.Keys(failures)); !slices.Equal(got, want) {
		t.Errorf("the table has %v, the code %v", got, want)
	}
}

func TestManualListsTheKinds(t *testing.T) {
	var want []string
	for _, kind := range Kinds {
		want = append(want, string(kind))
		text, err := os.ReadFile(manualFile)
		if err != nil {
			t.Fatal(err)
		}
		byDefault := "no"
		if slices.Contains(DefaultAlertOn, kind) {
			byDefault = "yes"
		}
		if !regexp.MustCompile("(?m)^\\| `" + string(kind) + "` \\| .* \\| " + byDefault + " \\|$").Match(text) {
			t.Errorf("no row says whether %s is reported by default: %s", kind, byDefault)
		}
	}
	slices.Sort(want)
	if got := firstCells(t, "What is reported"); !slices.Equal(got, want) {
		t.Errorf("the table has %v, the code %v", got, want)
	}
}

func TestManualNamesTheBounds(t *testing.T) {
	if maxAttempts != 4 || defaultMaxOrdinals != 100_000 {
		t.Error("docs/alerts.md says four attempts and 100 000 ordinals")
	}
	missing, err := document.Missing(manualFile,
		fmt.Sprintf("`--alert-window` (%g s)", defaultWindow.Seconds()),
		fmt.Sprintf("`--alert-repeat-after` (%g min)", defaultRepeatAfter.Minutes()),
		fmt.Sprintf("DingTalk allows %d messages a minute to a robot; beyond that it refuses all for %g minutes", robotLimit, throttlePause.Minutes()),
		fmt.Sprintf("`--alert-rate` calls (%d) in a minute", defaultAlertRate),
		fmt.Sprintf("at most %d lines of refusals and %d of placements wait for a robot, %d and %d of one namespace, and 100 000 ordinals",
			defaultMaxLines, defaultMaxLines, maxDenialsPerNamespace, maxPlacementsPerNamespace),
		fmt.Sprintf("it tries for %g s to send what is left", finalBudget.Seconds()),
		fmt.Sprintf("(RFC 1123, %d bytes)", maxNameBytes),
		"`--alert-timezone` ("+defaultTimezone+")",
		"a message is tried four times with growing pauses",
		"`"+DefaultRobotsDir+"`",
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range missing {
		t.Errorf("docs/alerts.md does not say: %s", m)
	}
}
