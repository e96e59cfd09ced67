package mutator

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// errorNoReview is the reason of the result "error": the body is no AdmissionReview v1. What is no admission call at all is
// answered, and counted, by the server.
const errorNoReview = "NotReview"

// metrics are resolved once, so that counting takes no look-up of label values.
type metrics struct {
	ignored, unchanged, placed prometheus.Counter
	denied                     map[string]prometheus.Counter // by Reason; read-only
	notReview                  prometheus.Counter
	duration                   prometheus.Histogram
	bodyBytes                  prometheus.Histogram
}

// newMetrics registers the metrics, every series at zero. A nil registerer
// leaves them unregistered; registering twice panics.
func newMetrics(reg prometheus.Registerer) *metrics {
	factory := promauto.With(reg)
	total := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "sts_webhook_admission_total",
		Help: "Admission requests, dry runs included, by result (ignored, unchanged, placed, denied, error) and, for denied and error, by reason.",
	}, []string{"result", "reason"})
	m := &metrics{
		ignored:   total.WithLabelValues("ignored", ""),
		unchanged: total.WithLabelValues("unchanged", ""),
		placed:    total.WithLabelValues("placed", ""),
		denied:    map[string]prometheus.Counter{},
		notReview: total.WithLabelValues("error", errorNoReview),
		duration: factory.NewHistogram(prometheus.HistogramOpts{
			Name:    "sts_webhook_admission_duration_seconds",
			Help:    "Time to decide about a body that has been read whole.",
			Buckets: []float64{50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 0.1, 0.2, 0.5, 1},
		}),
		bodyBytes: factory.NewHistogram(prometheus.HistogramOpts{
			Name:    "sts_webhook_admission_body_bytes",
			Help:    "Size of the admission reviews, in bytes.",
			Buckets: prometheus.ExponentialBuckets(1<<10, 4, 7),
		}),
	}
	for _, reason := range Reasons() {
		m.denied[reason] = total.WithLabelValues("denied", reason)
	}
	return m
}

// decided counts an answered request.
func (m *metrics) decided(d *decision, took time.Duration) {
	m.duration.Observe(took.Seconds())
	switch d.outcome {
	case ignored:
		m.ignored.Inc()
	case unchanged:
		m.unchanged.Inc()
	case placed:
		m.placed.Inc()
	case denied:
		m.denied[d.denial.reason].Inc()
	}
}
