package rotator

import (
	"crypto/tls"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Causes of a repair of the caBundle; those of the Secret are in settle.go.
const (
	causeBundleEmptied  = "bundle_emptied"
	causeBundleDamaged  = "bundle_damaged"
	causeBundleReplaced = "bundle_replaced"
)

type metrics struct {
	expiry  *prometheus.GaugeVec
	steps   *prometheus.CounterVec
	repairs *prometheus.CounterVec
	trusted prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, clock *skewClock) *metrics {
	m := &metrics{
		expiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sts_webhook_certificate_expiry_timestamp_seconds",
			Help: "When the certificate ends, in seconds since the epoch; 0 until there is one.",
		}, []string{"certificate"}),
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sts_webhook_rotations_total",
			Help: "Steps of the certificate life cycle that this replica tried, by result.",
		}, []string{"step", "result"}),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sts_webhook_repairs_total",
			Help: "Repairs of the certificate Secret and of the caBundle that this replica made, by cause.",
		}, []string{"cause"}),
		trusted: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sts_webhook_trusted",
			Help: "Whether the caBundle of the webhook configuration verifies the certificate that this replica serves.",
		}),
	}
	skew := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sts_webhook_clock_skew_seconds",
		Help: "How far the local clock is ahead of the apiserver's; 0 within the resolution of two seconds.",
	}, func() float64 { return clock.Skew().Seconds() })
	for _, c := range []string{"ca", "serving"} {
		m.expiry.WithLabelValues(c)
	}
	for _, s := range []step{stepBootstrap, stepMark, stepStage, stepPromote, stepRetire, stepRenew, stepInject} {
		for _, result := range []string{"success", "conflict", "error"} {
			m.steps.WithLabelValues(string(s), result)
		}
	}
	for _, c := range []string{causeDeleted, causeEmptied, causeDamaged, causeReplaced, causeBundleEmptied, causeBundleDamaged, causeBundleReplaced} {
		m.repairs.WithLabelValues(c)
	}
	if reg != nil {
		reg.MustRegister(m.expiry, m.steps, m.repairs, m.trusted, skew)
	}
	return m
}

func (m *metrics) expiries(k *keyring) {
	m.expiry.WithLabelValues("ca").Set(float64(k.signer.expires.Unix()))
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

func (m *metrics) stepped(s step, err error) {
	result := "success"
	switch {
	case apierrors.IsConflict(err):
		result = "conflict"
	case err != nil:
		result = "error"
	}
	m.steps.WithLabelValues(string(s), result).Inc()
}

func (m *metrics) repaired(cause string) { m.repairs.WithLabelValues(cause).Inc() }
