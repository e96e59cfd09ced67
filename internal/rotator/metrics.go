package rotator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Causes of a repair, as in the metric's label and in messages.
const (
	causeDeleted        = "deleted"
	causeEmptied        = "emptied"
	causeDamaged        = "damaged"
	causeReplaced       = "replaced" // a foreign CA, or an old copy
	causeBundleEmptied  = "bundle_emptied"
	causeBundleDamaged  = "bundle_damaged"
	causeBundleReplaced = "bundle_replaced"
)

var causes = []string{causeDeleted, causeEmptied, causeDamaged, causeReplaced, causeBundleEmptied, causeBundleDamaged, causeBundleReplaced}

type metrics struct {
	expiry  *prometheus.GaugeVec
	steps   *prometheus.CounterVec
	repairs *prometheus.CounterVec
	trusted prometheus.Gauge
}

// newMetrics registers all series, at zero. overdue and skew are asked at each scrape.
func newMetrics(reg prometheus.Registerer, overdue, skew func() time.Duration) *metrics {
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
	if reg != nil {
		reg.MustRegister(m.expiry, m.steps, m.repairs, m.trusted,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "sts_webhook_rotation_overdue_seconds",
				Help: "For how long a rotation, renewal or repair has been due and not been done; 0 if none is.",
			}, func() float64 { return overdue().Seconds() }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "sts_webhook_clock_skew_seconds",
				Help: "How far the local clock is ahead of the apiserver's; 0 within the resolution of two seconds.",
			}, func() float64 { return skew().Seconds() }))
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

func (m *metrics) tried(k kind, err error) {
	result := "success"
	switch {
	case lostRace(err):
		result = "conflict"
	case err != nil:
		result = "error"
	}
	m.steps.WithLabelValues(string(k), result).Inc()
}

// lostRace reports whether err means that somebody else wrote first.
func lostRace(err error) bool { return apierrors.IsConflict(err) || apierrors.IsNotFound(err) }

const (
	// A repair that comes this often within this time has a cause that goes on.
	recurs       = 3
	recursWithin = 10 * time.Minute
)

// recurrence counts the repairs of one object.
type recurrence struct {
	times    []time.Time // of the last repairs, the oldest first; not older than recursWithin
	total    int         // since it was quiet last
	reported time.Time
}

// add counts a repair and reports whether it is news that it comes again and again.
func (r *recurrence) add(now time.Time) bool {
	for len(r.times) > 0 && now.Sub(r.times[0]) > recursWithin {
		r.times = r.times[1:]
	}
	if len(r.times) == 0 {
		r.total = 0
	}
	if r.times, r.total = append(r.times, now), r.total+1; len(r.times) > recurs {
		r.times = r.times[1:]
	}
	if len(r.times) < recurs || !r.reported.IsZero() && now.Sub(r.reported) < recursWithin {
		return false
	}
	r.reported = now
	return true
}

// writeState is what became of the writes of one object.
type writeState struct {
	failures  int       // in a row
	since     time.Time // of the first of them
	heldUntil time.Time // none before this time
	repairs   recurrence
}

// wrote notes the result of a write and returns when to look again. A failure is
// logged when its cause is new, and reported when it lasts.
func (r *Rotator) wrote(ctx context.Context, index int, k kind, err error) time.Duration {
	w, condition := r.loop.writes[index], "cannot write Secret "+SecretName
	if index != secretIndex {
		condition = "cannot write " + configurations[index].String()
	}
	defer r.noteOverdue()
	switch {
	case err == nil:
		r.metrics.tried(k, nil)
		r.say(condition, nil)
		if w.failures >= reportAfter {
			r.report(EventCertificate, "WriteSucceeded", "resolved: "+condition)
		}
		w.failures, w.heldUntil = 0, time.Time{}
		return 0
	case lostRace(err):
		r.metrics.tried(k, err)
		r.log.V(1).Info("another writer was faster", "step", k, "cause", err.Error())
		return 50 * time.Millisecond
	case errors.Is(context.Cause(ctx), context.Canceled):
		return 0 // the process ends
	}
	r.metrics.tried(k, err)
	r.say(condition, err)
	now := r.clock.Now()
	if w.failures++; w.failures == 1 {
		w.since = now
	}
	if w.failures == reportAfter {
		r.report(EventCertificate, "WriteRefused", fmt.Sprintf("%s (%s): %v; the webhook goes on serving and tries again", condition, k, err))
	}
	wait := min(writeRetryFirst<<min(w.failures-1, 10), writeRetryLast)
	w.heldUntil = now.Add(wait)
	return wait
}

// noteOverdue publishes since when a write has been failing.
func (r *Rotator) noteOverdue() {
	first := int64(0)
	for _, w := range r.loop.writes {
		if since := w.since.UnixNano(); w.failures > 0 && (first == 0 || since < first) {
			first = since
		}
	}
	r.overdue.Store(first)
}

// repaired counts and reports a repair of obj, or that it is needed again and again.
func (r *Rotator) repaired(index int, reason, what, cause string, obj client.Object, field string) {
	r.metrics.repairs.WithLabelValues(cause).Inc()
	repairs, manager := &r.loop.writes[index].repairs, lastManager(obj, field)
	r.log.Info("repaired "+what, "cause", cause, "manager", manager)
	switch news := repairs.add(r.clock.Now()); {
	case news:
		err := fmt.Errorf("%s was repaired %d times, the last time because it was %s; the field manager %q changed it last: stop it from writing there",
			what, repairs.total, cause, manager)
		r.log.Error(err, "repaired again and again", "manager", manager, "count", repairs.total)
		r.report(EventCertificate, "RepairRecurs", err.Error())
	case len(repairs.times) < recurs:
		r.report(EventCertificate, reason, fmt.Sprintf("%s was %s by the field manager %q; repaired", what, cause, manager))
	}
}

// say logs a condition when it is new or has another cause than before, and its
// end. The condition is the log's message. It reports whether it logged.
func (r *Rotator) say(condition string, err error) bool {
	if !r.changed(condition, err) {
		return false
	}
	if err != nil {
		r.log.Error(err, condition)
	} else {
		r.log.Info("resolved", "condition", condition)
	}
	return true
}

// changed reports whether a condition is new, over, or has another cause than before.
func (r *Rotator) changed(condition string, err error) bool {
	text := ""
	if err != nil {
		text = ephemeralPort.ReplaceAllString(err.Error(), "->")
	}
	if r.loop.said[condition] == text {
		return false
	}
	r.loop.said[condition] = text
	return true
}

// ephemeralPort is what differs between two messages of the same cause.
var ephemeralPort = regexp.MustCompile(`:\d+->`)
