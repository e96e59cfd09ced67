// Package validator answers the AdmissionReviews of StatefulSets: it refuses a rule that would refuse every pod, at the moment
// when somebody applies it and before a running pod is gone, and warns of what may not be meant. It says what package plan
// says, so kubectl apply and "sts-webhook plan" agree.
//
// # What is checked
//
// A StatefulSet that is created, and one whose pod template changes. Everything else passes, so that one that is broken already
// can still be scaled, deleted and repaired; scaling it is only warned of.
//
// Errors refuse: a label without annotation, an annotation that is no rule, an ordinal in use without a value. Warnings are
// printed by kubectl: an annotation without label, entries of the template's own nodeSelector that are overwritten, a mere
// preference for pods with volumes, ordinals that move, and, if a Cluster is given, nodes that do not exist and volumes that
// are bound elsewhere.
//
// The webhook configuration has failurePolicy Ignore: when no replica answers, StatefulSets are stored unchecked, and a mistake
// shows with the first pod, as it did before.
//
// # Metrics
//
//	sts_webhook_statefulset_reviews_total{result}   allowed, warned, refused, error (no review of a StatefulSet, or too many at once)
package validator
