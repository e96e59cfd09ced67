package check

import (
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/version"

	"sts-mutating-webhook/internal/rotator"
)

// Answer is what the apiserver answered to one request: Value, if Err is nil.
type Answer[T any] struct {
	Value T
	Err   error
}

// Flags are what the container's arguments say, as far as a check depends on it.
type Flags struct {
	Policy                          rotator.Policy
	Events, CheckNodes, CheckVolume bool
	// AlertURLFile is the file with the robot's address.
	AlertURLFile string
}

// Snapshot is what Make looks at.
type Snapshot struct {
	Now time.Time
	// Program is the version of this program.
	Program string
	// Namespace is that of the dry runs.
	Namespace string

	Deployment Answer[*appsv1.Deployment]
	// Flags are the Deployment's; Err is set if they cannot be read as those of this version.
	Flags Answer[Flags]
	// Pods are the replicas, those that end included.
	Pods Answer[[]corev1.Pod]
	// Versions are those that ready replicas report by the metric sts_webhook_build_info, each once, sorted; beside an error, those
	// of the replicas that could be read.
	Versions Answer[[]string]

	// Pod is the answer to the dry run of an opted-in pod.
	Pod Answer[*corev1.Pod]
	// StatefulSet is the answer to the dry run of a StatefulSet with a mistake. Err is what is hoped for.
	StatefulSet Answer[struct{}]

	// Secret holds the certificates, and no keys.
	Secret     Answer[*corev1.Secret]
	Mutating   Answer[*admissionv1.MutatingWebhookConfiguration]
	Validating Answer[*admissionv1.ValidatingWebhookConfiguration]

	// Denied are the rights that the webhook's service account lacks, of all that any of the manifests gives.
	Denied Answer[[]Right]
	// Gate says which of the gate's objects exist.
	Gate Answer[map[Object]bool]
	// Waiting is the number of pods behind the scheduling gate.
	Waiting Answer[int]
	// AlertKey is what the Deployment mounts as the file with the robot's address; the zero value is nothing of a Secret.
	AlertKey SecretKey
	// AlertURL reports whether AlertKey has a value.
	AlertURL Answer[bool]
}

// PreSnapshot is what MakePre looks at.
type PreSnapshot struct {
	Version Answer[*version.Info]
	// Resources are those of admissionregistration.k8s.io/v1.
	Resources Answer[[]string]
	// Labels are those of the objects of manifests/ that exist.
	Labels Answer[map[Object]map[string]string]
	// Denied are the rights that somebody needs to apply manifests/ and that this user lacks.
	Denied Answer[[]Right]
}
