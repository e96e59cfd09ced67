package placer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct{ placedLate prometheus.Counter }

// newMetrics registers the metrics, at zero. A nil registerer leaves them unregistered.
func newMetrics(reg prometheus.Registerer, w *waiting) *metrics {
	factory := promauto.With(reg)
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sts_webhook_gated_pods",
		Help: "Pods that wait behind the scheduling gate, as this replica sees them; 0 without the right to watch pods.",
	}, func() float64 { n, _ := w.count(); return float64(n) })
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sts_webhook_gated_oldest_age_seconds",
		Help: "Age of the oldest of those pods; 0 if there is none.",
	}, func() float64 {
		n, oldest := w.count()
		if n == 0 {
			return 0
		}
		return max(0, time.Since(oldest).Seconds())
	})
	return &metrics{placedLate: factory.NewCounter(prometheus.CounterOpts{
		Name: "sts_webhook_placed_late_total",
		Help: "Pods that this replica has placed after they were stored behind the scheduling gate.",
	})}
}
