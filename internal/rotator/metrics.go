package rotator

import (
	"crypto/tls"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	expiry  *prometheus.GaugeVec
	steps   *prometheus.CounterVec
	repairs *prometheus.CounterVec
	trusted prometheus.Gauge
}

// newMetrics registers all series, at zero. overdue and skew are asked at each scrape.
func newMetrics(reg prometheus.Registerer, overdue, skew func() time.Duration) *metrics {
	f := promauto.With(reg) // nil registers nothing
	seconds := func(name, help string, d func() time.Duration) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return d().Seconds() })
	}
	m := &metrics{
		expiry: f.NewGaugeVec(prometheus.GaugeOpts{Name: "sts_webhook_certificate_expiry_timestamp_seconds",
			Help: "When the certificate ends, in seconds since the epoch; 0 until there is one."}, []string{"certificate"}),
		steps: f.NewCounterVec(prometheus.CounterOpts{Name: "sts_webhook_rotations_total",
			Help: "Steps of the certificate life cycle that this replica tried, by result."}, []string{"step", "result"}),
		repairs: f.NewCounterVec(prometheus.CounterOpts{Name: "sts_webhook_repairs_total",
			Help: "Repairs of the certificate Secret and of the caBundle that this replica made, by cause."}, []string{"cause"}),
		trusted: f.NewGauge(prometheus.GaugeOpts{Name: "sts_webhook_trusted",
			Help: "Whether the caBundle of the webhook configuration verifies the certificate that this replica serves."}),
	}
	seconds("sts_webhook_rotation_overdue_seconds", "For how long a rotation, renewal or repair has been due and not been done; 0 if none is.", overdue)
	seconds("sts_webhook_clock_skew_seconds", "How far the local clock is ahead of the apiserver's; 0 within the resolution of two seconds.", skew)
	for _, c := range []string{"ca", "serving"} {
		m.expiry.WithLabelValues(c)
	}
	for _, k := range []kind{create, rotate, distrust, retire, renew, restore, inject} {
		for _, result := range []string{"success", "conflict", "error"} {
			m.steps.WithLabelValues(string(k), result)
		}
	}
	for _, c := range causes {
		m.repairs.WithLabelValues(c)
	}
	return m
}

func (m *metrics) serving(cert *tls.Certificate, trusted bool) {
	m.trusted.Set(0)
	if trusted {
		m.trusted.Set(1)
	}
	if cert != nil {
		m.expiry.WithLabelValues("serving").Set(float64(cert.Leaf.NotAfter.Unix()))
	}
}
