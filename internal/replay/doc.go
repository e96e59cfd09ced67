// Package replay decides again about the pods in an audit log of kube-apiserver, and says which decisions this version would
// make otherwise. It asks the webhook's own handler, so there is no second decision to keep equal.
//
// # What the log holds
//
// An event at level Request or RequestResponse holds the pod as it was sent, before admission, and in its annotations, for each
// webhook that was called, "mutation.webhook.admission.k8s.io/round_R_index_I" (its name) and, if it changed the pod,
// "patch.webhook.admission.k8s.io/round_R_index_I" (its JSON patch). R is 1 for a reinvocation, I is the webhook's place in the
// order in which all of them are called. A denial is the event's response status.
//
// # What is compared
//
// The pod that the webhook was called for is the one that was sent, changed by the webhooks before it. What the API server's
// own plugins changed is not in the log; none of the usual ones touches labels, annotations, owners, node selector or affinity,
// and the tolerations that one adds are in neither pod that is compared. The recorded patch and the new one are applied to that
// pod. If node selectors, preferred node affinity terms or tolerations differ then, or only one is a denial, the decision has
// changed. Two denials with different texts are the same decision.
package replay
