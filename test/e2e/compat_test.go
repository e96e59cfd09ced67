package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/test/document"
)

// writer names this package in the markers of README.md.
const writer = "test/e2e"

// recordVersion writes into the table of a document that the whole suite has passed on this version of Kubernetes.
func (s *suite) recordVersion(t *testing.T, file string) {
	t.Helper()
	version, err := s.Client.Discovery().ServerVersion()
	must(t, err)
	file = s.Path(file)
	text, err := os.ReadFile(file)
	must(t, err)
	begin, end := document.Markers(writer)
	_, table, _ := strings.Cut(string(text), begin)
	table, _, _ = strings.Cut(table, end)
	must(t, document.Replace(file, writer, addVersion(table, version.GitVersion, time.Now())))
}

// addVersion returns the table with the version's row, the newest version first.
func addVersion(table, version string, day time.Time) string {
	rows := []string{fmt.Sprintf("| %s | %s |", version, day.UTC().Format(time.DateOnly))}
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "| v") && !strings.HasPrefix(line, "| "+version+" ") {
			rows = append(rows, line)
		}
	}
	slices.Sort(rows)
	slices.Reverse(rows)
	return "| Kubernetes | the end-to-end suite passed on |\n|---|---|\n" + strings.Join(rows, "\n")
}

func TestAddVersion(t *testing.T) {
	day := time.Date(2026, 12, 1, 23, 0, 0, 0, time.UTC)
	table := addVersion("\nNo run is recorded.\n\n", "v1.35.4", day)
	table = addVersion("\n"+table+"\n", "v1.36.3", day)
	got := addVersion("\n"+table+"\n", "v1.35.4", day.Add(2*time.Hour))
	want := "| Kubernetes | the end-to-end suite passed on |\n|---|---|\n| v1.36.3 | 2026-12-01 |\n| v1.35.4 | 2026-12-02 |"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
