package kit

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/test/document"
)

var write = flag.String("write", "", "the document, named from the checkout's root, that the suite writes its figures into")

// Chapter is a part of a suite. Chapters share a cluster, and run in their order.
type Chapter[S any] struct {
	Name string
	Run  func(S, *testing.T)
	// Long: it is left out with -short.
	Long bool
	// Needed: nothing after it makes sense if it fails.
	Needed bool
	// Anywhere: it needs no more than a kubeconfig, so it also runs on an existing cluster.
	Anywhere bool
}

// Run runs the chapters as subtests.
func Run[S any](t *testing.T, s S, chapters []Chapter[S]) {
	for _, c := range chapters {
		begin := time.Now()
		passed := t.Run(c.Name, func(t *testing.T) {
			if c.Long && testing.Short() {
				t.Skip("NOT RUN with -short")
			}
			if e, ok := any(s).(interface{ IsExisting() bool }); ok && e.IsExisting() && !c.Anywhere {
				t.Skip("NOT RUN: it needs a cluster that the test brought up")
			}
			c.Run(s, t)
		})
		if took := time.Since(begin); took > time.Second {
			t.Logf("%.1f s: %s", took.Seconds(), c.Name)
		}
		if !passed && c.Needed {
			t.FailNow()
		}
	}
}

// IsExisting reports whether the cluster is one that StartExisting found.
func (s *Suite) IsExisting() bool { return s.Cluster.IsExisting() }

// Remark adds a paragraph to the suite's report.
func (s *Suite) Remark(format string, args ...any) {
	s.remarks = append(s.remarks, fmt.Sprintf(format, args...))
}

// Report prints the paragraphs and all remarks, and writes them into Document, between the
// markers of the writer.
func (s *Suite) Report(t *testing.T, writer string, paragraphs ...string) {
	t.Helper()
	report := strings.Join(append(paragraphs, s.remarks...), "\n\n")
	fmt.Println(report)
	if file := Document(t); file != "" {
		Must(t, document.Replace(s.Path(file), writer, report))
	}
}

// Document is what -write names, if all chapters ran and passed; otherwise, and without the
// flag, it is empty.
func Document(t *testing.T) string {
	t.Helper()
	some := strings.Contains(flag.Lookup("test.run").Value.String(), "/")
	if *write != "" && (t.Failed() || some) {
		t.Logf("%s is left as it is: not everything ran and passed", *write)
		return ""
	}
	return *write
}
