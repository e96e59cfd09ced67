// Package placement decides which nodes a pod of a StatefulSet belongs on, by
// the pod's ordinal. It is pure, knows neither admission nor the API server, and
// is the only place that does: the webhook patches pods by it, the command plan
// prints what it says, and they cannot disagree.
//
// # The rules
//
// The StatefulSet's pod template carries the label Label=LabelValue and the
// annotation Annotation. The annotation holds one rule, or an array of rules
// with different keys. A rule is a JSON object of "key", a node label, and
// exactly one of:
//
//	"even": "a", "odd": "b"                           by parity
//	"values": ["a", "b", "c"]                         values[ordinal % 3]
//	"ordinals": {"0": "a", "1-2,5": "b"}              by index set, as in a Job's
//	  with or without "default": "c"                  status.succeededIndexes
//	"value": "deb-$(ordinal)"                         the ordinal put into a text,
//	  with or without "start": 1                      after start was added
//
// and, with any of them:
//
//	"whenUnsatisfiable": "DoNotSchedule"              nodeSelector; the default
//	"whenUnsatisfiable": "ScheduleAnyway"             preferred node affinity
//	"tolerate": "NoSchedule"                          tolerate key=value:NoSchedule
//
// In "value" every $(ordinal) is replaced. There is no escape, for what it would
// leave, a "$", cannot stand in a label value; so any other "$" is an error, and
// so is a text without $(ordinal), which would send every pod to one node.
//
// Parse is strict because a field that is misspelt, doubled or of another type
// is a mistake, and guessing what was meant could bind a volume to the wrong
// node. It checks whatever any ordinal could get: a mistake shows with the first
// pod, or before it, not with the one that the mistake is about.
package placement

// The names that users write. They are fixed: the webhook configuration's
// objectSelectors repeat the labels.
const (
	// Label opts a pod in if its value is LabelValue.
	Label      = "ab-build-different"
	LabelValue = "true"
	// Annotation holds the rules.
	Annotation = "custom-node-selector"
	// PodIndexLabel is set by the StatefulSet controller to the ordinal.
	PodIndexLabel = "apps.kubernetes.io/pod-index"
)

// A policy of the cluster (manifests/optional/gate/) puts these on a pod, or its template
// has them, so that the pod waits if the webhook cannot be called.
const (
	// Gate is the scheduling gate. Whoever places the pod removes it.
	Gate = "sts-webhook.custom-system.svc/placement"
	// GateLabel comes with the gate and stays. The webhook configuration and the policies
	// select pods by it, since Kubernetes selects none by its gates. Any value will do.
	GateLabel = "sts-webhook.custom-system.svc/gate"
)

// Bounds of an annotation. They keep the work of a request small, not users from
// what Kubernetes allows.
const (
	// MaxBytes is what Kubernetes allows all annotations of an object together.
	MaxBytes = 256 << 10
	// MaxRules bounds the rules of an annotation.
	MaxRules = 16
	// MaxValues bounds the values of a rule, and the ranges in the index sets
	// of one.
	MaxValues = 512
	// MaxOrdinal is the largest ordinal, and the largest that may result from
	// "start".
	MaxOrdinal = 1<<31 - 1
)
