package app

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"sts-mutating-webhook/internal/mutator"
)

// pipe remembers each write. While it is stalled, nobody reads it.
type pipe struct {
	mu      sync.Mutex // guards writes
	writes  []string
	stalled chan struct{} // writes wait until it is closed; nil: they do not wait
}

func (p *pipe) Write(b []byte) (int, error) {
	if p.stalled != nil {
		<-p.stalled
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes = append(p.writes, string(b))
	return len(b), nil
}

func (p *pipe) got() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writes
}

func TestALineAfterAPauseIsWrittenAtOnceAndManyTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out pipe
		w := newLogWriter(&out, nil)
		log := slog.New(urgentHandler{slog.NewTextHandler(w, nil), w.Hurry})
		log.Info("one")
		synctest.Wait()
		if got := out.got(); len(got) != 1 || !strings.Contains(got[0], "one") {
			t.Fatalf("after a pause: got %q, want the line at once", got)
		}
		log.Info("two")
		log.With("key", "value").Info("three")
		synctest.Wait()
		if got := out.got(); len(got) != 1 {
			t.Fatalf("within %v: got %q, want nothing more yet", logInterval, got)
		}
		time.Sleep(logInterval)
		synctest.Wait()
		if got := out.got(); len(got) != 2 || strings.Count(got[1], "\n") != 2 {
			t.Fatalf("after %v: got %q, want both lines in one write", logInterval, got)
		}
		log.WithGroup("g").Warn("four")
		synctest.Wait()
		if got := out.got(); len(got) != 3 || !strings.Contains(got[2], "four") {
			t.Fatalf("a warning: got %q, want it at once", got)
		}
		log.Info("five")
		w.Close()
		if got := out.got(); len(got) != 4 || !strings.Contains(got[3], "five") {
			t.Errorf("closed: got %q, want the last line", got)
		}
	})
}

func TestAdmissionGoesOnWhenNobodyReadsTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &pipe{stalled: make(chan struct{})}
		w := newLogWriter(out, prometheus.NewRegistry())
		handler := mutator.NewHandler(mutator.Settings{}, events{}, w, logr.Discard(), prometheus.NewRegistry())
		const calls = 10_000 // several times what logLimit holds
		for i := range calls {
			if code := call(handler, i); code != http.StatusOK {
				t.Fatalf("call %d: code %d, want 200", i, code)
			}
		}
		var counter dto.Metric
		if err := w.dropped.Write(&counter); err != nil {
			t.Fatal(err)
		}
		dropped := int(counter.GetCounter().GetValue())
		if dropped == 0 {
			t.Error("no line was dropped: the log was not full, so the test proves nothing")
		}
		close(out.stalled)
		w.Close()
		text := strings.Join(out.got(), "")
		if lines := strings.Count(text, "pod denied"); lines+dropped != calls {
			t.Errorf("%d lines written and %d counted as dropped, want %d together", lines, dropped, calls)
		}
		if !strings.Contains(text, fmt.Sprintf(`"count":%d`, dropped)) {
			t.Errorf("the log does not tell that %d lines were dropped", dropped)
		}
	})
}

func TestTheEndDoesNotWaitForALogThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &pipe{stalled: make(chan struct{})}
		w := newLogWriter(out, nil)
		_, _ = w.Write([]byte("a line\n"))
		begin := time.Now()
		w.Close()
		if took := time.Since(begin); took != logCloseTimeout {
			t.Errorf("Close took %v, want %v", took, logCloseTimeout)
		}
		close(out.stalled)
	})
}

// call sends a pod without an annotation, which is denied and logged.
func call(handler *mutator.Handler, n int) (status int) {
	body := fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u%d","namespace":"shop","dryRun":true,`+
		`"kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},"operation":"CREATE",`+
		`"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-0","labels":{"ab-build-different":"true"}}}}}`, n)
	handler.Handle([]byte(body), func(code int, _ []byte) { status = code })
	return status
}
