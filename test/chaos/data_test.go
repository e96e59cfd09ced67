package chaos

import (
	"encoding/csv"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

var dataDir = flag.String("data", "", "directory for the counts that test/plots draws; empty writes none")

// writeSeconds writes what became of each webhook's creations, second by second from the injection on.
func writeSeconds(name string, attempts []*attempt) error {
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write data: %w", err)
	}
	defer file.Close()
	fmt.Fprintf(file, "# test/chaos, %s, %s, %d CPUs, %d creations per second for each webhook\n",
		time.Now().UTC().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), rate)
	w := csv.NewWriter(file)
	_ = w.Write([]string{"webhook", "second", "created", "refused"}) // an error is kept for w.Error
	for _, a := range attempts {
		for _, s := range a.report.Seconds(a.hit) {
			_ = w.Write([]string{a.name, strconv.Itoa(s.Second), strconv.Itoa(s.Created), strconv.Itoa(s.Refused)})
		}
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return fmt.Errorf("write data: %w", err)
	}
	return nil
}

func TestSecondsAreWrittenFromTheInjectionOn(t *testing.T) {
	hit := time.Unix(1000, 0)
	report := load.Report{Samples: []load.Sample{
		{Start: hit.Add(-500 * time.Millisecond)}, {Start: hit, Outcome: load.Refused}, {Start: hit.Add(100 * time.Millisecond)},
	}}
	name := filepath.Join(t.TempDir(), "data.csv")
	kit.Must(t, writeSeconds(name, []*attempt{{target: &target{name: "ours"}, hit: hit, report: report}}))
	file, err := os.Open(name)
	kit.Must(t, err)
	defer file.Close()
	r := csv.NewReader(file)
	r.Comment = '#'
	rows, err := r.ReadAll()
	kit.Must(t, err)
	if got, want := fmt.Sprint(rows), "[[webhook second created refused] [ours -1 1 0] [ours 0 1 1]]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
