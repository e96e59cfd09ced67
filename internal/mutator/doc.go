// Package mutator answers the API server's admission reviews of pods: it puts
// the pods of a StatefulSet on nodes by their ordinal.
//
// # What it does with a pod
//
// A pod takes part if it carries the label ab-build-different: "true". Its
// annotation custom-node-selector holds the rules (package placement):
//
//	{"key": "name", "even": "node1", "odd": "node2"}
//
// The ordinal is the decimal number after "<statefulset>-" in the pod's name;
// the StatefulSet is the pod's controller. The result is
// spec.nodeSelector[key] = value, or a preferred node affinity term that says
// the same, and a toleration if the rule asks for one. Whatever keeps the rules
// from being applied with certainty denies the pod, with a message for its
// author: a pod that is let through by mistake may bind a volume to the wrong
// node for good. Everything else (other resources, operations and subresources,
// pods without the label) is allowed as it is.
//
// A pod may come with our scheduling gate, so that it waits in the cluster if this
// program cannot be called (docs/availability.md). The patch that places it removes
// the gate. If it is stored behind the gate, PlaceStored decides what is to be done.
//
// # How it is built
//
// decode reads the review's bytes, once; decide is a pure function from what
// was read to a decision; encode writes the answer. Handler puts metrics
// and the access log around them, after the answer. The pod is never encoded again: the
// answer is a JSON patch of a few operations, so fields that this program has
// never heard of survive.
//
// # Why a decoder of its own
//
// Every opted-in pod waits for this code, and nearly all of its cost is the
// reading of 7 KB of JSON of which a dozen strings matter. Measured on the same
// review in one run (testdata/candidates does it again): decoding into the API
// types takes about 20 times as long as this decoder, encoding/json into
// structures of only these members 7 times, jsontext token by token twice,
// fastjson one and a half times. What is faster, jsonparser and gjson without a
// check, accepts texts that are no JSON; fastjson does so within strings, and
// picks silently between members that occur twice. The decoder is fuzzed
// against the API server's own, in both directions: see FuzzDecodeReview.
package mutator
