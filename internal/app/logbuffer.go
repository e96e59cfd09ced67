package app

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	// logDelay is the longest that a line waits to be written.
	logDelay = 100 * time.Millisecond
	// logBuffer is how many bytes wait at most, about 200 lines.
	logBuffer = 64 << 10
)

// logBatch gathers log lines and writes many in one go. Written one by one, the
// access log costs as much as the admission itself: each write wakes the container
// runtime at the other end of the pipe. A process that is killed takes the lines
// of its last logDelay along.
type logBatch struct {
	out io.Writer
	// later calls f after d, once.
	later func(d time.Duration, f func())

	// mu guards the rest, and the order of the lines.
	mu      sync.Mutex
	waiting []byte
	// due: a flush is on its way.
	due bool
}

func newLogBatch(out io.Writer) *logBatch {
	return &logBatch{out: out, later: func(d time.Duration, f func()) { time.AfterFunc(d, f) }}
}

// Write takes one line. It fails never: nobody could be told.
func (b *logBatch) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, line...)
	switch {
	case len(b.waiting) >= logBuffer:
		b.write()
	case !b.due:
		b.due = true
		b.later(logDelay, b.flushDue)
	}
	return len(line), nil
}

func (b *logBatch) flushDue() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.due = false
	b.write()
}

// Flush writes what waits.
func (b *logBatch) Flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.write()
}

func (b *logBatch) write() {
	if len(b.waiting) == 0 {
		return
	}
	_, _ = b.out.Write(b.waiting) // a log that cannot be written has nowhere to say so
	b.waiting = b.waiting[:0]
}

// promptHandler flushes after a line that an operator should act on.
type promptHandler struct {
	slog.Handler
	flush func()
}

func (h promptHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.flush()
	}
	return err
}

func (h promptHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return promptHandler{h.Handler.WithAttrs(attrs), h.flush}
}

func (h promptHandler) WithGroup(name string) slog.Handler {
	return promptHandler{h.Handler.WithGroup(name), h.flush}
}
