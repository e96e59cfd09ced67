package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/test/document"
	"sts-mutating-webhook/test/kit"
)

// writer names this package in the markers of documents.
const writer = "test/e2e"

// recordVersion writes into the table of a document, and into that of its translation, that the whole suite has passed on this
// version of Kubernetes.
func (s *suite) recordVersion(t *testing.T, file string) {
	t.Helper()
	version, err := s.Client.Discovery().ServerVersion()
	kit.Must(t, err)
	for _, file := range []string{file, strings.TrimSuffix(file, ".md") + ".zh-CN.md"} {
		kit.Must(t, document.Update(s.Path(file), writer, func(table string) string { return addVersion(table, version.GitVersion, time.Now()) }))
	}
}

// addVersion returns the table with the version's row, the newest version first.
func addVersion(table, version string, day time.Time) string {
	lines := strings.Split(strings.TrimSpace(table), "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "| "+version+" ") })
	lines = append(lines, fmt.Sprintf("| %s | %s |", version, day.UTC().Format(time.DateOnly)))
	slices.Sort(lines[2:]) // below the head
	slices.Reverse(lines[2:])
	return strings.Join(lines, "\n")
}

func TestAddVersion(t *testing.T) {
	day := time.Date(2026, 12, 1, 23, 0, 0, 0, time.UTC)
	table := addVersion("\n| Kubernetes | the end-to-end suite passed on |\n|---|---|\n\n", "v1.35.4", day)
	table = addVersion("\n"+table+"\n", "v1.36.3", day)
	got := addVersion("\n"+table+"\n", "v1.35.4", day.Add(2*time.Hour))
	want := "| Kubernetes | the end-to-end suite passed on |\n|---|---|\n| v1.36.3 | 2026-12-01 |\n| v1.35.4 | 2026-12-02 |"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
