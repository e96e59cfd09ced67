package mutator

import (
	"io"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"sts-mutating-webhook/internal/placement"
)

// Observer is notified of outcomes after they were decided, dry runs excepted. It
// is called on the request's goroutine and must not block.
type Observer interface {
	// Placed reports a pod whose nodes the answer changes. Other
	// admission steps may still refuse the pod.
	Placed(Placement)
	// Denied reports a pod that was refused. Its controller tries again, so
	// the same denial comes many times.
	Denied(Denial)
}

// Owner is the StatefulSet of a pod.
type Owner struct {
	Namespace string
	// StatefulSet is its name, empty if the pod has no known one.
	StatefulSet string
	// APIVersion and UID are what the pod's owner reference says, not validated; empty if there is none
	// (--default-statefulset).
	APIVersion, UID string
}

// Placement is a pod that was given its nodes. Names are at most 253 bytes;
// they were not validated yet.
type Placement struct {
	Owner
	Pod     string
	Ordinal int32
	// Revision is the pod's label controller-revision-hash, not validated; empty if there is none.
	Revision string
	// Key and Value are the label and the value that the pod was placed by,
	// those of several rules joined with commas.
	Key, Value string
}

// Denial is a pod that was refused.
type Denial struct {
	Owner
	// Pod is empty if the pod has no name.
	Pod     string
	Reason  string // one of Reasons
	Problem Problem
	Message string // a bounded English sentence for the user, made of both
}

// Handler answers AdmissionReviews.
type Handler struct {
	settings Settings
	observer Observer
	access   accessLog
	log      logr.Logger
	metrics  *metrics
	now      func() time.Time
}

// NewHandler returns a handler that writes its access log to lines, one line with one call of Write, and what only a verbose log
// holds to log. A nil observer is not notified; a nil registerer leaves the metrics unregistered. It panics if the metrics
// are registered already.
func NewHandler(s Settings, o Observer, lines io.Writer, log logr.Logger, reg prometheus.Registerer) *Handler {
	return &Handler{
		settings: s, observer: o, access: accessLog{lines}, log: log.WithName(loggerName), metrics: newMetrics(reg), now: time.Now,
	}
}

// Handle decides about a body, replies, and only then logs, counts and notifies the observer. It replies with HTTP 200 to
// whatever is an AdmissionReview, denials included. HTTP errors are for what is not: the API server treats them as a
// failed call, not as a decision.
func (h *Handler) Handle(body []byte, reply func(status int, answer []byte)) {
	start := h.now()
	r, err := decode(body)
	if err != nil {
		reply(http.StatusBadRequest, []byte(err.Error()+"\n"))
		h.metrics.bodyBytes.Observe(float64(len(body)))
		h.metrics.notReview.Inc()
		h.log.V(1).Info("request refused", "code", http.StatusBadRequest, "reason", errorNoReview, "cause", err.Error())
		return
	}
	d := decide(&r, h.settings)
	answer := encode(&r, &d)
	end := h.now()
	reply(http.StatusOK, answer)
	took := end.Sub(start)
	h.metrics.bodyBytes.Observe(float64(len(body)))
	h.metrics.decided(&d, took)
	h.report(&r, &d, end, took)
}

// report writes the access log and notifies the observer.
func (h *Handler) report(r *review, d *decision, now time.Time, took time.Duration) {
	e := accessEntry{
		message: accessMessage[d.outcome], uid: clip(r.uid, maxName), namespace: clip(r.namespace, maxName),
		statefulSet: clip(d.statefulSet, maxName), pod: clip(r.pod.name, maxName), dryRun: r.dryRun, took: took,
	}
	if d.outcome == ignored || d.outcome == unchanged {
		if !h.log.V(1).Enabled() {
			return
		}
		e.verbose = true
	}
	h.access.write(&e, d, now)
	if h.observer == nil || r.dryRun {
		return
	}
	o := ownerOf(&r.pod, e.namespace, e.statefulSet)
	switch d.outcome {
	case placed:
		h.observer.Placed(Placement{o, e.pod, d.ordinal, r.pod.revision.value, d.key, d.value})
	case denied:
		if d.denial.reason != ReasonNameInvalid {
			h.observer.Denied(Denial{o, e.pod, d.denial.reason, d.denial.problem, d.denial.message})
		}
	}
}

// ownerOf names the StatefulSet of a pod for an observer.
func ownerOf(p *pod, namespace, statefulSet string) Owner {
	o := Owner{Namespace: namespace, StatefulSet: statefulSet}
	if c := &p.controller; statefulSet != "" && placement.IsStatefulSet(c.apiVersion, c.kind) {
		o.APIVersion, o.UID = c.apiVersion, c.uid
	}
	return o
}
