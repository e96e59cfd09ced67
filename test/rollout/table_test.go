package rollout

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sts-mutating-webhook/test/load"
)

// row is a line of the table of events.
type row struct{ event, ours, control, causes string }

func newRow(e event, reports []load.Report) row {
	r := row{event: e.name, ours: cell(reports[0]), control: "–", causes: "–"}
	if len(reports) > 1 {
		r.control = cell(reports[1])
	}
	if causes := reports[0].Causes(); len(causes) > 0 {
		r.causes = sentence(withoutAddresses(causes))
	}
	return r
}

// addresses of one end or both of a connection, as package net writes them.
var addresses = regexp.MustCompile(` \d+(\.\d+){3}:\d+(->\d+(\.\d+){3}:\d+)?`)

// withoutAddresses adds up causes that differ in their addresses only.
func withoutAddresses(causes map[string]int) map[string]int {
	sum := map[string]int{}
	for text, n := range causes {
		sum[addresses.ReplaceAllString(text, "")] += n
	}
	return sum
}

// cell says how many creations were lost, and the longest outage.
func cell(r load.Report) string {
	text := fmt.Sprintf("%d of %d", r.Lost(), len(r.Samples))
	if r.Lost() > 0 {
		text += fmt.Sprintf(" (%.1f s)", r.Outage().Length().Seconds())
	}
	if n := r.Count(load.Unavailable); n > 0 {
		text += fmt.Sprintf(", %d without an answer of the cluster", n)
	}
	return text
}

// sentence lists causes, the most frequent first.
func sentence(causes map[string]int) string {
	keys := slices.SortedFunc(maps.Keys(causes), func(a, b string) int {
		if causes[a] != causes[b] {
			return causes[b] - causes[a]
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, k := range keys {
		parts = append(parts, fmt.Sprintf("%d x %s", causes[k], k))
	}
	return strings.Join(parts, "; ")
}

func table(rows []row) string {
	var b strings.Builder
	b.WriteString("| event, at 50 creations/s | ours refused (outage) | textbook refused (outage) | why, ours |\n|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.event, r.ours, r.control, r.causes)
	}
	return strings.TrimSpace(b.String())
}

func TestTable(t *testing.T) {
	causes := withoutAddresses(map[string]int{"x": 1, "read tcp 10.0.0.1:5->10.0.0.2:8443: y": 1, "read tcp 10.0.0.1:6->10.0.0.2:8443: y": 1})
	rows := []row{{"a", "0 of 9", "–", "–"}, {"b", "3 of 9 (1.0 s)", "4 of 9 (2.0 s)", sentence(causes)}}
	want := "| a | 0 of 9 | – | – |\n| b | 3 of 9 (1.0 s) | 4 of 9 (2.0 s) | 2 x read tcp: y; 1 x x |"
	if got := table(rows); !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant at its end\n%s", got, want)
	}
}
