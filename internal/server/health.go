package server

import (
	"io"
	"net/http"
	"time"
)

// newHealth returns the server of the probes. /healthz says that the process answers, nothing more: a certificate that
// cannot be renewed is not cured by a restart. /readyz follows the readiness latch and the drain.
func newHealth(g *gate) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if reason := g.notReady(); reason != "" {
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
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       quietLog(g.log),
	}
}

// notReady returns the reason why no request should be sent here, or "".
func (g *gate) notReady() string {
	if g.phase.Load() != serving {
		return "draining"
	}
	if err := g.ready.err(); err != nil {
		return err.Error()
	}
	return ""
}
