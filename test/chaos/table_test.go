package chaos

import (
	"cmp"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/test/load"
)

var dataDir = flag.String("data", "", "directory for the counts that test/plots draws; empty writes none")

// row is a line of the table of results.
type row struct {
	name, ours, control, healed string
	remarks                     []string
	failed                      bool
}

// row puts the figures together.
func (s *suite) row(t *testing.T, sc scenario, attempts []*attempt) row {
	a := attempts[0]
	r := row{name: sc.name, ours: figure(a.report), control: "–", healed: cmp.Or(a.healed, "–")}
	if n := a.fleetWrites(); n == 1 {
		r.remarks = []string{"1 write"}
	} else {
		r.remarks = []string{fmt.Sprintf("%d writes", n)}
	}
	if len(attempts) > 1 {
		r.control = figure(attempts[1].report)
		if attempts[1].report.Lost() == 0 && sc.controlLoses {
			t.Errorf("the textbook lost nothing, so this scenario proves nothing")
		}
	}
	for _, a := range attempts {
		for _, count := range []struct {
			n    int
			what string
		}{
			{a.report.Count(load.Unmutated), "unmutated"},
			{a.report.Count(load.Unavailable), "not answered by the cluster"},
			{a.report.Skipped, "not sent"},
		} {
			if count.n > 0 {
				a.remark("%d %s", count.n, count.what)
			}
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
	text := fmt.Sprintf("%d of %d", r.Count(refused...), len(r.Samples)-r.Count(load.Unavailable))
	if out := r.Outage(refused...); out.Lost > 0 {
		text += fmt.Sprintf(" (%.1f s)", out.Length().Seconds())
	}
	return text
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

// writeSeconds writes what became of each webhook's creations, second by second from the injection on.
func writeSeconds(name string, attempts []*attempt) error {
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write data: %w", err)
	}
	fmt.Fprintf(file, "# test/chaos, %s, %s, %d CPUs, %d creations per second for each webhook\n",
		time.Now().UTC().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), rate)
	records := [][]string{{"webhook", "second", "created", "refused"}}
	for _, a := range attempts {
		for _, s := range a.report.Seconds(a.hit) {
			records = append(records, []string{a.name, strconv.Itoa(s.Second), strconv.Itoa(s.Created), strconv.Itoa(s.Refused)})
		}
	}
	return errors.Join(csv.NewWriter(file).WriteAll(records), file.Close())
}
