package server

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// cause says why a request or a connection was refused with 503.
type cause int

const (
	causeIdle cause = iota // nothing was refused; not counted
	causeNotReady
	causeDraining
	causeRequests
	causeBytes
	causeConnections
	causeSlow
	causes
)

// causeLabel is the label value of each cause that is counted.
var causeLabel = [causes]string{"", "not_ready", "draining", "overloaded_requests", "overloaded_bytes", "overloaded_connections", "slow"}

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
	bad       map[int]prometheus.Counter // by status; read-only
	handshake [handshakeFailures]prometheus.Counter
	panics    prometheus.Counter
}

// count counts what was answered instead of the handler.
func (m *metrics) count(f *failure) {
	switch {
	case f.status != http.StatusServiceUnavailable:
		m.bad[f.status].Inc()
	case f.cause != causeIdle:
		m.rejected[f.cause].Inc()
	}
}

// newMetrics registers every series at zero. The gauges read s at each scrape.
func newMetrics(reg prometheus.Registerer, s *Server) (*metrics, error) {
	rejected := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sts_webhook_rejected_total",
		Help: "Requests and connections refused with 503 and Retry-After, by cause.",
	}, []string{"cause"})
	bad := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sts_webhook_bad_requests_total",
		Help: "Requests that are no admission call, by the HTTP status they were answered with.",
	}, []string{"code"})
	handshake := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sts_webhook_tls_handshake_errors_total",
		Help: "TLS handshakes that failed, by cause: untrusted means that the client refused our certificate.",
	}, []string{"cause"})
	m := &metrics{bad: map[int]prometheus.Counter{}, panics: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sts_webhook_panics_total",
		Help: "Requests answered with 500 because the handler panicked.",
	})}
	for c := causeIdle + 1; c < causes; c++ {
		m.rejected[c] = rejected.WithLabelValues(causeLabel[c])
	}
	for _, f := range []*failure{errMalformed, errNotFound, errMethod, errBodyTooLarge, errMediaType, errExpectation, errHeadTooLarge, errVersion} {
		m.bad[f.status] = bad.WithLabelValues(strconv.Itoa(f.status))
	}
	for f, label := range handshakeLabel {
		m.handshake[f] = handshake.WithLabelValues(label)
	}
	gauge := func(name, help string, read func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read)
	}
	err := register(reg, rejected, bad, handshake, m.panics,
		gauge("sts_webhook_in_flight_requests", "Requests inside the admission handler now.",
			func() float64 { return float64(s.slots.used.Load()) }),
		gauge("sts_webhook_in_flight_body_bytes", "Bytes reserved for request bodies now.",
			func() float64 { return float64(s.bodies.used.Load()) }),
		gauge("sts_webhook_open_connections", "Client connections open now, including those in their TLS handshake.",
			func() float64 { return float64(s.conns.count()) }))
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
