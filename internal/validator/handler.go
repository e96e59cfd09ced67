package validator

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/internal/plan"
)

// Settings tell how pods will be placed, and what there is to know of the cluster.
type Settings struct {
	plan.Options
	// Cluster is asked for warnings. Nil: nothing is known of the cluster.
	Cluster Cluster
}

// Handler answers the reviews of StatefulSets.
type Handler struct {
	settings Settings
	log      logr.Logger
	results  *prometheus.CounterVec
	// turns holds an element for each review that is being checked.
	turns chan struct{}
}

const (
	// atOnce is how many reviews are checked at once: pods, whose reviews come to the same server, are more urgent.
	atOnce = 2
	// turnTimeout is how long a review waits for its turn. Then it is answered with 500, which failurePolicy Ignore ignores.
	turnTimeout = time.Second
)

// Results of a review, in the metric's label and in the log.
const (
	allowed = "allowed"
	warned  = "warned"
	refused = "refused"
	failed  = "error"
)

// NewHandler returns a handler. A nil reg leaves the metric unregistered.
func NewHandler(s Settings, log logr.Logger, reg prometheus.Registerer) *Handler {
	h := &Handler{settings: s, turns: make(chan struct{}, atOnce), log: log.WithName("statefulsets"), results: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "sts_webhook_statefulset_reviews_total",
		Help: "StatefulSets that were checked when they were applied, by result.",
	}, []string{"result"})}
	for _, result := range []string{allowed, warned, refused, failed} {
		h.results.WithLabelValues(result)
	}
	return h
}

// Handle answers one review. Its reply is HTTP 400 to whatever is no review of a StatefulSet, and 200 to everything else.
func (h *Handler) Handle(body []byte, reply func(status int, answer []byte)) {
	select {
	case h.turns <- struct{}{}:
		defer func() { <-h.turns }()
	case <-time.After(turnTimeout):
		reply(http.StatusInternalServerError, []byte("too many StatefulSets at once\n"))
		h.results.WithLabelValues(failed).Inc()
		return
	}
	review, set, old, err := decode(body)
	if err != nil {
		reply(http.StatusBadRequest, []byte(err.Error()+"\n"))
		h.results.WithLabelValues(failed).Inc()
		h.log.V(1).Info("review refused", "cause", err.Error())
		return
	}
	f := check(set, old, h.settings)
	answer, err := json.Marshal(admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: f.response(review.Request)})
	if err != nil { // it holds strings only
		panic(err)
	}
	reply(http.StatusOK, answer)
	h.results.WithLabelValues(f.result()).Inc()
	if result := f.result(); result != allowed {
		h.log.Info("StatefulSet "+result, "uid", review.Request.UID, "namespace", set.Namespace, "statefulSet", set.Name, "problems", f.lines())
	}
}

// decode reads a review. old is nil for a creation.
func decode(body []byte) (review *admissionv1.AdmissionReview, set, old *appsv1.StatefulSet, err error) {
	review = &admissionv1.AdmissionReview{}
	if err := json.Unmarshal(body, review); err != nil {
		return nil, nil, nil, fmt.Errorf("read AdmissionReview: %w", err)
	}
	if review.APIVersion != admissionv1.SchemeGroupVersion.String() || review.Kind != "AdmissionReview" || review.Request == nil {
		return nil, nil, nil, errors.New("read AdmissionReview: it is no request of admission.k8s.io/v1")
	}
	r := review.Request
	if r.Kind != (metav1.GroupVersionKind{Group: appsv1.GroupName, Version: "v1", Kind: "StatefulSet"}) {
		return nil, nil, nil, fmt.Errorf("read AdmissionReview: the object is a %.100s, not a StatefulSet of apps/v1", r.Kind.String())
	}
	set = &appsv1.StatefulSet{}
	if err := json.Unmarshal(r.Object.Raw, set); err != nil {
		return nil, nil, nil, fmt.Errorf("read StatefulSet: %w", err)
	}
	if len(r.OldObject.Raw) > 0 && string(r.OldObject.Raw) != "null" {
		old = &appsv1.StatefulSet{}
		if err := json.Unmarshal(r.OldObject.Raw, old); err != nil {
			return nil, nil, nil, fmt.Errorf("read old StatefulSet: %w", err)
		}
	}
	set.Namespace = r.Namespace
	if set.Name == "" { // the API server makes one, which is as good as this one
		set.Name = set.GenerateName + "00000"
	}
	return review, set, old, nil
}
