// Package placer places pods that were stored while the webhook could not be called.
//
// With the gate turned on (manifests/optional/gate/) such a pod waits behind a
// scheduling gate. Each replica watches the opted-in pods that are not scheduled yet,
// decides about those behind the gate as the webhook would have, and changes each with
// one patch: its nodes are added, and the gate is removed.
//
// # For operators
//
// There is no flag. The placer begins within 15 seconds after its service account was
// given the right to list, watch and patch pods, and ends within 15 seconds after it
// lost it. So the mode is turned on and off by objects alone: no replica has to be
// restarted at that moment, and flags and objects cannot contradict each other.
//
// A pod that cannot be placed stays where it is, with a warning event on it and on its
// StatefulSet that says what to do. Metrics: sts_webhook_gated_pods,
// sts_webhook_gated_oldest_age_seconds, sts_webhook_placed_late_total.
//
// # How it is built
//
// There is no leader. A patch carries the resourceVersion that was decided about, so
// that of two replicas one succeeds. To meet rarely, each waits before it touches a pod
// for a part of half a second that depends on the pod and on the replica; the watch
// mostly shows by then that another replica was first. Placer (placer.go) follows the
// right and the watch, queue.go works, waiting.go remembers who waits; what is asked of
// Kubernetes is in cluster.go.
package placer
