package rollout

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sts-mutating-webhook/test/document"
)

// writer names this package in the markers of a document.
const writer = "test/rollout"

func TestEndToEndRollout(t *testing.T) {
	if os.Getenv("TEST_CLUSTER") == "" {
		t.Skip("NOT RUN: the test brings up a real cluster; set TEST_CLUSTER=1 (make test-rollout) and be root")
	}
	only, err := regexp.Compile(os.Getenv("ROLLOUT_ONLY"))
	must(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Minute)
	t.Cleanup(cancel)
	// An interrupted run cleans up, too.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	w := newWorld(ctx, t, os.Getenv("ROLLOUT") == "full")
	for _, chapter := range []struct {
		name string
		full bool // only in the full form
		tell func(*world, context.Context, *testing.T)
	}{
		{"no creation is lost while replicas come and go", false, (*world).testEvents},
		{"a thousand dry runs at once", false, (*world).testBurst},
		{"a StatefulSet of a thousand replicas", true, (*world).testLargeStatefulSet},
		{"kube-apiserver repeats what was refused with Retry-After", false, (*world).testRetryAfter},
		{"a burst of the largest bodies", false, (*world).testLargestBodies},
		{"idle connections at 90 seconds", true, (*world).testIdleTimeout},
		{"an upgrade and the way back lose nothing", false, (*world).testUpgrade}, // the last one: the version before stays
	} {
		if chapter.full && !w.full || !only.MatchString(chapter.name) {
			continue
		}
		t.Run(chapter.name, func(t *testing.T) { chapter.tell(w, ctx, t) })
	}
	report := w.report()
	fmt.Println(report)
	if file := os.Getenv("ROLLOUT_TABLE"); file != "" {
		must(t, document.Replace(w.webhook.Path(file), writer, report))
	}
}

// report is everything that the chapters have measured.
func (w *world) report() string {
	parts := []string{table(w.rows)}
	if text := w.drains.String(); text != "" {
		parts = append(parts, text)
	}
	return strings.Join(append(parts, w.remarks...), "\n\n")
}

func (w *world) remark(format string, args ...any) {
	w.remarks = append(w.remarks, fmt.Sprintf(format, args...))
}
