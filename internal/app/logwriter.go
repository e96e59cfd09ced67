package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// logInterval is the least time between two writes. Written one by one, the
	// access log costs as much as the admission itself: each write wakes the
	// container runtime at the other end of the pipe.
	logInterval = 100 * time.Millisecond
	// logLimit is how many bytes wait at most, about 3000 lines.
	logLimit = 1 << 20
	// logCloseTimeout bounds how long the end of the process waits for a reader.
	logCloseTimeout = time.Second
)

// logWriter writes log lines from a goroutine of its own, so that a pipe that
// nobody reads (the container runtime restarts, its disk is full) holds up
// nothing: lines that find no room are dropped and counted. A line that comes
// after a pause is written at once, so that the last lines before a crash are not
// lost; many lines are written together.
//
// The goroutine begins with newLogWriter and ends with Close.
type logWriter struct {
	out     io.Writer
	dropped prometheus.Counter

	mu      sync.Mutex // guards waiting, lost
	waiting []byte
	lost    int // lines dropped since the last write

	news    chan struct{} // capacity 1: something waits
	urgent  chan struct{} // capacity 1: it is not to wait for logInterval
	closing chan struct{} // closed by Close
	closed  chan struct{} // closed when the goroutine has ended
}

func newLogWriter(out io.Writer, reg prometheus.Registerer) *logWriter {
	w := &logWriter{
		out: out, news: make(chan struct{}, 1), urgent: make(chan struct{}, 1), closing: make(chan struct{}), closed: make(chan struct{}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sts_webhook_log_dropped_total",
			Help: "Log lines that were dropped because nobody read the log fast enough.",
		}),
	}
	if reg != nil {
		reg.MustRegister(w.dropped)
	}
	go w.run()
	return w
}

// Write takes one line. It never blocks and never fails; there is nowhere to report
// an error.
func (w *logWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	if len(w.waiting)+len(line) > logLimit {
		w.lost++
		w.dropped.Inc()
	} else {
		w.waiting = append(w.waiting, line...)
	}
	w.mu.Unlock()
	signal(w.news)
	return len(line), nil
}

// Hurry lets what waits be written without waiting for more.
func (w *logWriter) Hurry() { signal(w.urgent) }

// Close writes what waits, if somebody reads it within logCloseTimeout.
func (w *logWriter) Close() {
	close(w.closing)
	select {
	case <-w.closed:
	case <-time.After(logCloseTimeout):
	}
}

func (w *logWriter) run() {
	defer close(w.closed)
	var spare []byte
	for {
		select {
		case <-w.news:
		case <-w.closing:
			w.write(spare)
			return
		}
		spare = w.write(spare)
		select {
		case <-time.After(logInterval):
		case <-w.urgent:
		case <-w.closing:
		}
	}
}

// write writes what waits and returns its buffer for the next lines.
func (w *logWriter) write(spare []byte) []byte {
	w.mu.Lock()
	lines, lost := w.waiting, w.lost
	w.waiting, w.lost = spare[:0], 0
	w.mu.Unlock()
	if lost > 0 {
		lines = fmt.Appendf(lines, `{"time":%q,"level":"WARN","msg":"log lines were dropped: nobody read them fast enough","count":%d}`+"\n",
			time.Now().Format(time.RFC3339Nano), lost)
	}
	if len(lines) > 0 {
		_, _ = w.out.Write(lines) // a log that cannot be written has nowhere to say so
	}
	return lines
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// urgentHandler hurries lines that an operator should act on.
type urgentHandler struct {
	slog.Handler
	hurry func()
}

func (h urgentHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.hurry()
	}
	return err
}

func (h urgentHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return urgentHandler{h.Handler.WithAttrs(attrs), h.hurry}
}

func (h urgentHandler) WithGroup(name string) slog.Handler {
	return urgentHandler{h.Handler.WithGroup(name), h.hurry}
}
