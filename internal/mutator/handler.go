package mutator

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
)

// Observer is told of outcomes after they were decided, dry runs excepted. It
// is called on the request's goroutine and must not block.
type Observer interface {
	// Placed reports a pod whose nodeSelector the answer changes. Other
	// admission steps may still refuse the pod.
	Placed(Placement)
	// Denied reports a pod that was refused. Its controller tries again, so
	// the same denial comes many times.
	Denied(Denial)
}

// Placement is a pod that was given its nodes. Names are at most 253 bytes;
// they were not validated yet.
type Placement struct {
	Namespace, StatefulSet, Pod string
	Ordinal                     int32
	Key, Value                  string // the nodeSelector entry
}

// Denial is a pod that was refused.
type Denial struct {
	Namespace string
	// StatefulSet is empty if the pod has no known one.
	StatefulSet string
	// Pod is empty if the pod has no name.
	Pod     string
	Reason  string // one of Reasons
	Message string // a bounded English sentence for the user
}

// handler answers AdmissionReviews.
type handler struct {
	settings Settings
	observer Observer
	log      logr.Logger
	metrics  *metrics
	now      func() time.Time
}

// NewHandler returns the handler of POST /mutate. The server around it limits
// the body with http.MaxBytesReader and sets the deadlines. A nil observer is
// told nothing; a nil registerer leaves the metrics unregistered. It panics if
// the metrics are registered already.
func NewHandler(s Settings, o Observer, log logr.Logger, reg prometheus.Registerer) http.Handler {
	return &handler{settings: s, observer: o, log: log, metrics: newMetrics(reg), now: time.Now}
}

// ServeHTTP answers with HTTP 200 whatever is an AdmissionReview, denials
// included. HTTP errors are for what is not: the API server treats them as a
// failed call, not as a decision.
func (h *handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	start := h.now()
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		h.refuse(w, http.StatusMethodNotAllowed, errorMethod, fmt.Errorf("method %s is not POST", quote(req.Method)))
		return
	}
	if contentType := req.Header.Get("Content-Type"); !isJSON(contentType) {
		h.refuse(w, http.StatusUnsupportedMediaType, errorMediaType,
			fmt.Errorf("content type %s is not application/json", quote(contentType)))
		return
	}
	buffer := getBuffer(req.ContentLength)
	defer putBuffer(buffer)
	body, err := readAll(*buffer, req.Body, req.ContentLength)
	*buffer = body
	if err != nil {
		h.refuseBody(w, err)
		return
	}
	h.metrics.bodyBytes.Observe(float64(len(body)))
	h.answer(w, body, start)
}

// answer decides about a body that was read.
func (h *handler) answer(w http.ResponseWriter, body []byte, start time.Time) {
	r, err := decode(body)
	if err != nil {
		h.refuse(w, http.StatusBadRequest, errorNoReview, err)
		return
	}
	d := decide(&r, h.settings)
	answer := encode(&r, &d)
	took := h.now().Sub(start)
	w.Header()["Content-Type"] = jsonType // net/http adds the Content-Length
	// A failed write means that the API server has gone away; it reports that
	// itself, and the decision stands.
	_, _ = w.Write(answer)
	h.metrics.decided(&d, took)
	h.report(&r, &d, took)
}

// jsonType is shared by all answers; net/http only reads it.
var jsonType = []string{"application/json"}

func isJSON(contentType string) bool {
	if contentType == "application/json" { // what the API server sends
		return true
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && mediaType == "application/json"
}

func (h *handler) refuseBody(w http.ResponseWriter, err error) {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		h.refuse(w, http.StatusRequestEntityTooLarge, errorTooLarge,
			fmt.Errorf("the body is larger than %d bytes", tooLarge.Limit))
		return
	}
	h.refuse(w, http.StatusBadRequest, errorUnreadable, fmt.Errorf("read body: %w", err))
}

// refuse answers what is no AdmissionReview, with one line of text.
func (h *handler) refuse(w http.ResponseWriter, code int, reason string, err error) {
	h.metrics.errors[reason].Inc()
	h.log.V(1).Info("request refused", "code", code, "reason", reason, "cause", err.Error())
	http.Error(w, err.Error(), code)
}

// report writes the access log and tells the observer.
func (h *handler) report(r *review, d *decision, took time.Duration) {
	uid, namespace := clip(r.uid, maxName), clip(r.namespace, maxName)
	statefulSet, podName := clip(d.statefulSet, maxName), clip(r.pod.name, maxName)
	log := h.log
	if d.outcome == ignored || d.outcome == unchanged {
		if log = log.V(1); !log.Enabled() {
			return
		}
	}
	switch d.outcome {
	case ignored:
		log.Info("request ignored", "uid", uid, "namespace", namespace, "pod", podName,
			"dryRun", r.dryRun, "durationSeconds", took.Seconds())
	case unchanged:
		log.Info("pod unchanged", "uid", uid, "namespace", namespace, "statefulSet", statefulSet, "pod", podName,
			"ordinal", d.ordinal, "key", d.key, "value", d.value, "dryRun", r.dryRun, "durationSeconds", took.Seconds())
	case placed:
		log.Info("pod placed", "uid", uid, "namespace", namespace, "statefulSet", statefulSet, "pod", podName,
			"ordinal", d.ordinal, "key", d.key, "value", d.value, "dryRun", r.dryRun, "durationSeconds", took.Seconds())
		if h.observer != nil && !r.dryRun {
			h.observer.Placed(Placement{namespace, statefulSet, podName, d.ordinal, d.key, d.value})
		}
	case denied:
		log.Info("pod denied", "uid", uid, "namespace", namespace, "statefulSet", statefulSet, "pod", podName,
			"reason", d.denial.reason, "message", d.denial.message, "dryRun", r.dryRun, "durationSeconds", took.Seconds())
		if h.observer != nil && !r.dryRun && d.denial.reason != ReasonNameInvalid {
			h.observer.Denied(Denial{namespace, statefulSet, podName, d.denial.reason, d.denial.message})
		}
	}
}
