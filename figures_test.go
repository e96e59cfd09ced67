package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sts-mutating-webhook/test/document"
)

// The README repeats four figures of the tables that make bench writes.
func TestReadmeRepeatsTheMeasuredCost(t *testing.T) {
	all := documents(t)
	for server, sentence := range map[string]string{"ours": "costs %.1f to %.1f times as much", "textbook": "costs %.0f to %.0f times as much"} {
		var figures []any
		for _, row := range []string{server, "6.9 KB | " + server} { // at 500 calls/s, and all connections busy
			found := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(row) + ` \| [^|]+ \| ([0-9.]+) \|`).FindStringSubmatch(all["docs/performance.md"])
			if found == nil {
				t.Fatalf("docs/performance.md has no row %q", row)
			}
			figure, err := strconv.ParseFloat(found[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			figures = append(figures, figure)
		}
		if want := fmt.Sprintf(sentence, figures...); !strings.Contains(all["README.md"], want) {
			t.Errorf("docs/performance.md was measured anew: README.md must say %q", want)
		}
	}
}

// docs/compare.md repeats what the suites wrote into other documents. Run with -update to write it.
func TestCompareRepeatsWhatWasMeasured(t *testing.T) {
	all := documents(t)
	performance, rotation := all["docs/performance.md"], all["docs/rotation.md"]
	added := func(way string) string {
		return cell(t, performance, "pod creation through kube-apiserver, 150/s", way, 3)
	}
	const events, scenarios = "event, at 50 creations/s", "scenario"
	var b strings.Builder
	b.WriteString("| | textbook | MutatingAdmissionPolicy | ours | ours, with the gate |\n|---|---|---|---|---|\n")
	fmt.Fprintf(&b, "| added to a pod creation at p50 | %s | %s | %s | %s |\n", added("textbook webhook"), added("MutatingAdmissionPolicy"), added("ours"), added("ours, with the gate"))
	for _, c := range []struct{ what, document, table, row string }{
		{"refused in 10 rolling restarts", performance, events, "10 rolling restarts"},
		{"refused when a node was drained", performance, events, "drain of a node"},
		{"refused when a replica was killed", performance, events, "SIGKILL of a replica"},
		{"refused when the Secret lost its data", rotation, scenarios, "Secret: all data removed"},
		{"refused when the caBundle was emptied", rotation, scenarios, "caBundle: emptied"},
	} {
		fmt.Fprintf(&b, "| %s | %s | – | %s | |\n", c.what, cell(t, c.document, c.table, c.row, 2), cell(t, c.document, c.table, c.row, 1))
	}
	const file, writer = "docs/compare.md", "figures_test.go"
	if begin, _ := document.Markers(writer); strings.Contains(all[file], begin+"\n"+b.String()) {
		return
	}
	if !*update {
		t.Errorf("%s: run go test . -run Compare -update; want\n%s", file, b.String())
	} else if err := document.Replace(file, writer, b.String()); err != nil {
		t.Error(err)
	}
}

// cell is a column, from 0 on, of the row of a table that begin with those texts.
func cell(t *testing.T, text, table, row string, column int) string {
	t.Helper()
	_, text, _ = strings.Cut(text, "\n| "+table+" |")
	text, _, _ = strings.Cut(text, "\n\n")
	_, text, found := strings.Cut(text, "\n| "+row+" |")
	columns := strings.Split(strings.SplitN(text, "\n", 2)[0], "|")
	if !found || len(columns) < column {
		t.Fatalf("no table %q has a row %q with %d more columns", table, row, column)
	}
	return strings.TrimSpace(columns[column-1])
}
