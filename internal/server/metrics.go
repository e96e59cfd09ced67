package server

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// cause says why a request was refused with 503 before its body was read.
type cause int

const (
	causeNotReady cause = iota
	causeDraining
	causeRequests
	causeBytes
	causes
)

// causeLabel is the label value of each cause.
var causeLabel = [causes]string{"not_ready", "draining", "overloaded_requests", "overloaded_bytes"}

// handshakeFailure classifies a failed TLS handshake.
type handshakeFailure int

const (
	handshakeUntrusted handshakeFailure = iota
	handshakeTimeout
	handshakeOther
	handshakeFailures
)

// handshakeLabel is the label value of each handshakeFailure.
var handshakeLabel = [handshakeFailures]string{"untrusted", "timeout", "other"}

// metrics are the counters; the gauges read the state they describe when they are scraped.
type metrics struct {
	rejected  [causes]prometheus.Counter
	handshake [handshakeFailures]prometheus.Counter
	panics    prometheus.Counter
}

// newMetrics registers every series at zero. The three functions are called at each scrape.
func newMetrics(reg prometheus.Registerer, inFlight, bodyBytes, connections func() float64) (*metrics, error) {
	rejected := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sts_webhook_rejected_total",
		Help: "Requests refused with 503 and Retry-After before their body was read, by cause.",
	}, []string{"cause"})
	handshake := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sts_webhook_tls_handshake_errors_total",
		Help: "TLS handshakes that failed, by cause: untrusted means that the client refused our certificate.",
	}, []string{"cause"})
	m := &metrics{panics: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sts_webhook_panics_total",
		Help: "Requests answered with 500 because the handler panicked.",
	})}
	for c, label := range causeLabel {
		m.rejected[c] = rejected.WithLabelValues(label)
	}
	for f, label := range handshakeLabel {
		m.handshake[f] = handshake.WithLabelValues(label)
	}
	gauge := func(name, help string, read func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read)
	}
	err := register(reg, rejected, handshake, m.panics,
		gauge("sts_webhook_in_flight_requests", "Requests inside the admission handler now.", inFlight),
		gauge("sts_webhook_in_flight_body_bytes", "Bytes reserved for request bodies inside the admission handler now.", bodyBytes),
		gauge("sts_webhook_open_connections", "Client connections open now, including those in their TLS handshake.", connections))
	return m, err
}

// register adds the collectors to reg, or none of them.
func register(reg prometheus.Registerer, collectors ...prometheus.Collector) error {
	var errs []error
	var done []prometheus.Collector
	for _, c := range collectors {
		if err := reg.Register(c); err != nil {
			errs = append(errs, fmt.Errorf("register metric: %w", err))
			continue
		}
		done = append(done, c)
	}
	if len(errs) == 0 {
		return nil
	}
	for _, c := range done {
		reg.Unregister(c)
	}
	return errors.Join(errs...)
}
