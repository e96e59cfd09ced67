package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestChaos(t *testing.T) {
	if os.Getenv("TEST_CLUSTER") == "" {
		t.Skip("NOT RUN: the test brings up a real cluster; set TEST_CLUSTER=1 (make test-chaos) and be root")
	}
	full := os.Getenv("CHAOS") == "full"
	only, err := regexp.Compile(os.Getenv("CHAOS_ONLY"))
	must(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	s := newSuite(ctx, t, full)
	var rows []row
	begin := time.Now()
	for _, sc := range selected(scenarios(), full, only) {
		t.Run(testName(sc.name), func(t *testing.T) {
			r := row{name: sc.name, failed: true, remarks: []string{"did not end"}}
			defer func() { rows = append(rows, r) }()
			r = s.run(ctx, t, sc)
			r.failed = t.Failed()
			t.Logf("%4.0f s  ours %s, textbook %s, Secret valid after %s, %s", time.Since(begin).Seconds(), r.ours, r.control, r.healed, strings.Join(r.remarks, "; "))
		})
	}
	text := markdown(rows)
	if only.String() == "" || only.MatchString("first boot") {
		text += "\n" + s.firstBoots(ctx, t)
	}
	fmt.Println(text)
	if file := os.Getenv("CHAOS_TABLE"); file != "" {
		if !filepath.IsAbs(file) {
			file = s.webhook.Path(file)
		}
		must(t, writeTable(file, text, only.String() != ""))
	}
}

// selected leaves out what the form does not hold. In the short form the scenarios
// with the textbook come last, which gives it the time to boot.
func selected(all []scenario, full bool, only *regexp.Regexp) []scenario {
	var first, last []scenario
	for _, sc := range all {
		switch {
		case !only.MatchString(sc.name), !full && !sc.short, full && sc.shortOnly:
		case !full && sc.shortControl:
			last = append(last, sc)
		default:
			first = append(first, sc)
		}
	}
	return append(first, last...)
}

// testName is a scenario's name without what a subtest's cannot hold.
func testName(s string) string { return strings.NewReplacer("`", "", "/", " ").Replace(s) }
