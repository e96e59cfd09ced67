package app

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// writes remembers each write.
type writes []string

func (w *writes) Write(p []byte) (int, error) {
	*w = append(*w, string(p))
	return len(p), nil
}

func TestLogLinesAreWrittenTogether(t *testing.T) {
	var out writes
	var due []func()
	b := newLogBatch(&out)
	b.later = func(d time.Duration, f func()) {
		if d != logDelay {
			t.Errorf("flush after %v, want %v", d, logDelay)
		}
		due = append(due, f)
	}
	log := slog.New(promptHandler{slog.NewTextHandler(b, nil), b.Flush})
	log.Info("one")
	log.With("key", "value").Info("two")
	if len(out) != 0 || len(due) != 1 {
		t.Fatalf("after two lines: %d writes, %d flushes due, want none and one", len(out), len(due))
	}
	due[0]()
	if len(out) != 1 || strings.Count(out[0], "\n") != 2 {
		t.Errorf("got %q, want both lines in one write", out)
	}
	log.WithGroup("g").Warn("three")
	if len(out) != 2 || !strings.Contains(out[1], "three") {
		t.Errorf("got %q, want the warning at once", out)
	}
	due[1]() // nothing waits any more
	log.Info("four")
	b.Flush()
	b.Flush()
	if len(out) != 3 || len(due) != 3 {
		t.Errorf("got %d writes and %d flushes due, want 3 and 3: nothing is written twice, and a new line is due again", len(out), len(due))
	}
	if _, err := b.Write(bytes.Repeat([]byte("x"), logBuffer)); err != nil || len(out) != 4 {
		t.Errorf("a full buffer: %d writes, %v, want it written at once", len(out), err)
	}
}
