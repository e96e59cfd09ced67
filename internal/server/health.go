package server

import (
	"io"
	"log"
	"net/http"
	"sync/atomic"
	"time"
)

// newHealth returns the server of the probes. /healthz says that the process answers, nothing more: a certificate that
// cannot be renewed is not cured by a restart. /readyz follows the readiness latch and the drain.
func newHealth(s *Server) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if reason := s.notReady(); reason != "" {
			http.Error(w, reason, http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	return &http.Server{
		Handler: mux,
		// A probe is one small packet each way, answered at once.
		ReadTimeout:    5 * time.Second,
		WriteTimeout:   5 * time.Second,
		IdleTimeout:    time.Minute,
		MaxHeaderBytes: maxHead,
		ErrorLog:       log.New(io.Discard, "", 0), // it is about single clients, never about the server
	}
}

// notReady returns the reason why no request should be sent here, or "".
func (s *Server) notReady() string {
	if s.phase.Load() != serving {
		return "draining"
	}
	if err := s.ready.err(); err != nil {
		return err.Error()
	}
	return ""
}

// latch remembers the first success of a readiness check.
type latch struct {
	check func() error
	held  atomic.Bool
}

// err returns nil once the check has ever succeeded, and its error before that.
func (l *latch) err() error {
	if l.held.Load() {
		return nil
	}
	if err := l.check(); err != nil {
		return err
	}
	l.held.Store(true)
	return nil
}
