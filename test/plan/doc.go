// Package plan tests that "sts-webhook plan" is never wrong: random StatefulSets on a
// real control plane, with real nodes and some hundred fake ones, Node objects that are
// kept Ready and whose pods are only said to be Ready. What plan says of each pod,
// before the StatefulSet is there, is compared with what becomes of it.
//
// A run is a seed: it is printed, and -seed replays it. Every StatefulSet has random
// numbers of its own, so -only=N runs the one that failed, on the same nodes.
package plan
