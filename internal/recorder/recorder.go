// Package recorder writes Events on StatefulSets, where people look when a pod is missing: why a pod was refused, and, once for
// each revision, that the pods of the StatefulSet are placed. It never blocks and never fails its caller: what cannot be
// written is counted, and said in the log.
//
// client-go's recorder does the work: equal Events become one with a count, similar ones are combined, and a StatefulSet that
// is refused again and again costs one write in five minutes after the first 25.
package recorder

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/tools/record/util"
	"k8s.io/klog/v2"
	"k8s.io/utils/lru"

	"sts-mutating-webhook/internal/printable"
)

// ReasonPlaced is the reason of the Event on a StatefulSet whose pods are placed.
const ReasonPlaced = "Placed"

const (
	// component is what kubectl shows as the source of an Event.
	component = "sts-webhook"
	// revisionAnnotation makes the name of an Event the same whichever replica writes it.
	revisionAnnotation = "sts-webhook.custom-system.svc/revision"
	// maxRevisions bounds the revisions that are known to have their Event. One that is forgotten costs a call that the API
	// server answers with AlreadyExists.
	maxRevisions = 4096
	// maxMessage is what the API server allows an Event's message (core/v1 Event has no bound of its own, events.k8s.io/v1
	// has this one), in bytes.
	maxMessage = 1024
	// maxReference bounds each text that a pod says of its owner, in bytes.
	maxReference = 253
	// Calls a second, so that Events never take the share of the certificates.
	qps, burst = 10, 20
	// timeout of a call. client-go repeats one that did not reach the API server for two minutes.
	timeout = 10 * time.Second
)

// StatefulSet is whom an Event is about, as the owner reference of a pod names it.
type StatefulSet struct {
	APIVersion, Namespace, Name string
	// UID is empty if the owner is not known. There is no Event then.
	UID string
}

// Options configure a Recorder.
type Options struct {
	// Sink writes Events; Sink makes one.
	Sink record.EventSink
	// Log receives a line when Events cannot be written, and one when they can be again.
	Log logr.Logger
	// Registerer may be nil.
	Registerer prometheus.Registerer
}

// Recorder writes Events. A nil Recorder writes none.
type Recorder struct {
	broadcaster record.EventBroadcaster
	events      record.EventRecorderLogger
	revisions   *lru.Cache
	sink        *sink
}

// Sink writes Events with the API server of config.
func Sink(config *rest.Config) (record.EventSink, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst, config.RateLimiter, config.Timeout = qps, burst, nil, timeout
	client, err := typedcorev1.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("create client for events: %w", err)
	}
	return &typedcorev1.EventSinkImpl{Interface: client.Events("")}, nil
}

// New returns a Recorder that keeps up to 1,000 Events until it is started. It panics if its metric is registered already.
func New(o Options) *Recorder {
	// client-go logs whole Events. What there is to say of an Event that was not written, the sink says.
	quiet := klog.NewContext(context.Background(), logr.Discard())
	r := &Recorder{
		broadcaster: record.NewBroadcaster(record.WithContext(quiet)),
		revisions:   lru.New(maxRevisions),
		sink:        newSink(o),
	}
	r.events = r.broadcaster.NewRecorder(runtime.NewScheme(), corev1.EventSource{Component: component}).WithLogger(logr.Discard())
	return r
}

// Start writes Events until ctx ends. What is not written by then is lost.
func (r *Recorder) Start(ctx context.Context) error {
	if r == nil {
		return nil
	}
	watch := r.broadcaster.StartRecordingToSink(r.sink)
	defer watch.Stop()
	<-ctx.Done()
	r.broadcaster.Shutdown()
	return nil
}

// Denied records that a pod of set was refused. reason is a CamelCase word, message one sentence.
func (r *Recorder) Denied(set StatefulSet, reason, message string) {
	if r == nil || set.UID == "" {
		return
	}
	r.events.Event(set.reference(), corev1.EventTypeWarning, reason, printable.Clip(message, maxMessage))
}

// Event records something about any object; a nil Recorder does not. eventType is that of an Event, reason a CamelCase word.
func (r *Recorder) Event(object runtime.Object, eventType, reason, message string) {
	if r != nil {
		r.events.Event(object, eventType, reason, printable.Clip(message, maxMessage))
	}
}

// Placed records that pods of a revision of set are placed: pod, the first that was seen, by placement. Replicas and repeated
// calls give one Event for a revision as long as the API server keeps it, an hour by default.
func (r *Recorder) Placed(set StatefulSet, revision, pod, placement string) {
	if r == nil || set.UID == "" || revision == "" {
		return
	}
	key := [2]string{set.UID, revision}
	if _, known := r.revisions.Get(key); known {
		return
	}
	r.revisions.Add(key, nil)
	if len(validation.IsValidLabelValue(revision)) > 0 {
		return // the API server refuses the pod
	}
	message := fmt.Sprintf("revision %s: pods are placed by their ordinal; the first was %s, on %s", revision, pod, placement)
	r.events.AnnotatedEventf(set.reference(), map[string]string{revisionAnnotation: revision},
		corev1.EventTypeNormal, ReasonPlaced, "%s", printable.Clip(message, maxMessage))
}

func (s StatefulSet) reference() *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: printable.Clip(s.APIVersion, maxReference), Kind: "StatefulSet", Namespace: s.Namespace, Name: s.Name, UID: types.UID(printable.Clip(s.UID, maxReference)),
	}
}

// nameOf returns the name of the Event of a revision, the same for every replica.
func nameOf(e *corev1.Event, revision string) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%s", e.InvolvedObject.UID, revision)
	return util.GenerateEventName(e.InvolvedObject.Name, int64(h.Sum64()>>1))
}
