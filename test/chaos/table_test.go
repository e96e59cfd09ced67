package chaos

import (
	"fmt"
	"strings"
	"testing"

	"sts-mutating-webhook/test/load"
)

// row is a line of the table of results.
type row struct {
	name, ours, control, healed string
	remarks                     []string
	failed                      bool
}

// row puts the figures together.
func (s *suite) row(t *testing.T, sc scenario, attempts []*attempt) row {
	a := attempts[0]
	r := row{name: sc.name, ours: figure(a.report), control: "–", healed: "–"}
	if after, ok := a.wholeAfter(); ok && sc.repair == secretRepair {
		r.healed = fmt.Sprintf("%.2f s", after.Seconds())
	}
	r.remarks = append(r.remarks, fmt.Sprintf("%d writes", a.fleetWrites()))
	if after, ok := a.bundleAfter(); ok && sc.repair == bundleRepair {
		a.remark("caBundle back after %.2f s", after.Seconds())
	}
	if len(attempts) > 1 {
		control := attempts[1]
		r.control = figure(control.report)
		if control.report.Lost() == 0 && sc.controlLoses {
			t.Errorf("the textbook lost nothing, so this scenario proves nothing")
		}
	}
	for _, a := range attempts {
		if n := a.report.Count(load.Unmutated); n > 0 {
			a.remark("%d unmutated", n)
		}
		if n := a.report.Count(load.Unavailable); n > 0 {
			a.remark("%d not answered by the cluster", n)
		}
		if a.report.Skipped > 0 {
			a.remark("%d not sent", a.report.Skipped)
		}
		for _, text := range a.remarks {
			if a.target == s.control && !strings.Contains(text, "textbook") {
				text = "textbook: " + text
			}
			r.remarks = append(r.remarks, text)
		}
	}
	return r
}

// figure is a cell of the table: refused creations and the longest outage.
func figure(r load.Report) string {
	refused := []load.Outcome{load.Refused, load.Denied, load.WrongSelector}
	out := r.Outage(refused...)
	if out.Lost == 0 {
		return fmt.Sprintf("0 of %d", len(r.Samples)-r.Count(load.Unavailable))
	}
	return fmt.Sprintf("%d of %d (%.1f s)", r.Count(refused...), len(r.Samples)-r.Count(load.Unavailable), out.Length().Seconds())
}

// markdown is the table as it stands in docs/rotation.md.
func markdown(rows []row) string {
	var b strings.Builder
	b.WriteString("| scenario | ours refused (outage) | textbook refused (outage) | Secret valid after | remarks |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		remarks := strings.Join(r.remarks, "; ")
		if r.failed {
			remarks = "**failed**; " + remarks
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.name, r.ours, r.control, r.healed, remarks)
	}
	return b.String()
}

func TestTable(t *testing.T) {
	text := markdown([]row{
		{name: "a", ours: "0 of 9", control: "3 of 9 (1.0 s)", healed: "0.10 s", remarks: []string{"x", "y"}},
		{name: "b", ours: "1 of 9 (0.1 s)", control: "–", healed: "–", failed: true},
	})
	if want := "| a | 0 of 9 | 3 of 9 (1.0 s) | 0.10 s | x; y |\n| b | 1 of 9 (0.1 s) | – | – | **failed**;  |\n"; !strings.HasSuffix(text, want) {
		t.Errorf("got\n%s\nwant at its end\n%s", text, want)
	}
}
