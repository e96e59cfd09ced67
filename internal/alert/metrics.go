package alert

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the series of the notifier, all present from the start.
type metrics struct {
	sent        prometheus.Counter
	failed      *prometheus.CounterVec
	dropped     prometheus.Counter
	suppressed  prometheus.Counter
	queue       prometheus.GaugeFunc
	pausedUntil prometheus.GaugeFunc
	lastSuccess prometheus.Gauge
}

func newMetrics(queueLength, pausedUntil func() float64) *metrics {
	m := &metrics{
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sts_webhook_alert_sent_total",
			Help: "Messages that DingTalk accepted.",
		}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sts_webhook_alert_failed_total",
			Help: "Attempts to send a message that failed, by reason.",
		}, []string{"reason"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sts_webhook_alert_dropped_total",
			Help: "Events that were given up: no room, an impossible name, refused by DingTalk, or not sent before the process ended.",
		}),
		suppressed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sts_webhook_alert_suppressed_total",
			Help: "Events that repeated what had been reported shortly before and were only counted.",
		}),
		queue: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sts_webhook_alert_queue_length",
			Help: "Merged lines that wait to be reported, over all robots.",
		}, queueLength),
		pausedUntil: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sts_webhook_alert_paused_until_timestamp_seconds",
			Help: "Unix time until which nothing is sent after a failure, the latest of the robots; 0 while none pauses.",
		}, pausedUntil),
		lastSuccess: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sts_webhook_alert_last_success_timestamp_seconds",
			Help: "Unix time at which DingTalk accepted a message last; 0 if never.",
		}),
	}
	for reason := range failures {
		m.failed.WithLabelValues(reason)
	}
	return m
}

// register adds all series to the registry; nil registers nothing.
func (m *metrics) register(to prometheus.Registerer) error {
	if to == nil {
		return nil
	}
	var failed []error
	for _, c := range []prometheus.Collector{m.sent, m.failed, m.dropped, m.suppressed, m.queue, m.pausedUntil, m.lastSuccess} {
		failed = append(failed, to.Register(c))
	}
	return errors.Join(failed...)
}

// unix is t as a gauge's value; the zero time is 0.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
