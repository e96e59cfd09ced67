package chaos

import (
	"slices"
	"strings"
	"testing"

	"sts-mutating-webhook/test/kit"
)

// writer names this package in the markers of a document.
const writer = "test/chaos"

func TestChaos(t *testing.T) {
	s := setUp(t)
	var rows []row
	chapters := []kit.Chapter[*suite]{}
	for _, sc := range ordered(scenarios()) {
		chapters = append(chapters, kit.Chapter[*suite]{Name: testName(sc.name), Long: sc.form == longForm, Run: func(s *suite, t *testing.T) {
			if sc.form == shortForm && !testing.Short() {
				t.Skip("NOT RUN without -short: another scenario holds it")
			}
			r := row{name: sc.name, failed: true, remarks: []string{"did not end"}}
			defer func() { rows = append(rows, r) }()
			r = s.run(s.Ctx, t, sc)
			r.failed = t.Failed()
			t.Logf("ours %s, textbook %s, Secret valid after %s, %s", r.ours, r.control, r.healed, strings.Join(r.remarks, "; "))
		}})
	}
	chapters = append(chapters, kit.Chapter[*suite]{Name: "first boot", Run: (*suite).testFirstBoots})
	kit.Run(t, s, chapters)
	s.Report(t, writer, markdown(rows))
}

// ordered moves the scenarios that have the textbook with -short to the end, which gives it
// the time to boot.
func ordered(all []scenario) []scenario {
	if !testing.Short() {
		return all
	}
	last := func(sc scenario) bool { return sc.form == withControl }
	first := slices.DeleteFunc(slices.Clone(all), last)
	return append(first, slices.DeleteFunc(all, func(sc scenario) bool { return !last(sc) })...)
}

// testName is a scenario's name without what a subtest's cannot hold.
func testName(s string) string { return strings.NewReplacer("`", "", "/", " ").Replace(s) }
