package recorder

import (
	"sync/atomic"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/record"
)

// sink counts what becomes of Events and names those of a revision. It is called by one goroutine.
type sink struct {
	record.EventSink
	log     logr.Logger
	written *prometheus.CounterVec
	// failing is set while Events cannot be written, so that the log says it once.
	failing atomic.Bool
}

// Results of a write, the values of the metric's label.
const (
	written = "written"
	failed  = "failed"
)

func newSink(o Options) *sink {
	s := &sink{EventSink: o.Sink, log: o.Log, written: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sts_webhook_events_total",
		Help: "Events on StatefulSets that the apiserver took (written), and calls that it refused or that did not reach it (failed).",
	}, []string{"result"})}
	for _, result := range []string{written, failed} {
		s.written.WithLabelValues(result)
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(s.written)
	}
	return s
}

// Create writes a new Event.
func (s *sink) Create(e *corev1.Event) (*corev1.Event, error) {
	if revision := e.Annotations[revisionAnnotation]; revision != "" {
		e.Name = nameOf(e, revision)
	}
	made, err := s.EventSink.Create(e)
	s.count(err)
	return made, err
}

// Patch raises the count of an Event.
func (s *sink) Patch(e *corev1.Event, data []byte) (*corev1.Event, error) {
	patched, err := s.EventSink.Patch(e, data)
	if apierrors.IsNotFound(err) {
		return patched, err // the recorder creates it anew
	}
	s.count(err)
	return patched, err
}

func (s *sink) count(err error) {
	switch {
	case apierrors.IsAlreadyExists(err):
		return // another replica was first
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause), apierrors.IsNotFound(err):
		return // the namespace goes away, and its Events with it
	case err == nil:
		s.written.WithLabelValues(written).Inc()
		if s.failing.CompareAndSwap(true, false) {
			s.log.Info("events on StatefulSets are written again")
		}
		return
	}
	s.written.WithLabelValues(failed).Inc()
	if s.failing.CompareAndSwap(false, true) {
		s.log.Info("cannot write events on StatefulSets: apply manifests/12-rbac-events.yaml, or start with --events=false", "cause", err.Error())
	}
}
