package mutator

import "sts-mutating-webhook/internal/placement"

// Problem is the cause of a denial in parts, for an observer that writes it in its
// own words. Two denials with the same reason and the same problem are the same
// mistake. The texts are at most maxProblem bytes and untrusted; each may be empty.
type Problem struct {
	// Code says what is wrong with the annotation's content: one of Codes. It is
	// empty if the reason says all.
	Code string
	// Field is the field of the annotation, or the path in the pod, that is wrong.
	Field string
	// Value is what the field holds, or the name that is wrong.
	Value string
	// Form is the form of rule that was meant, as placement.Rule.Form names it; empty
	// if it cannot be recognized.
	Form string
	// Detail is an English clause for what Code does not say.
	Detail string
}

// maxProblem bounds each text of a Problem, in bytes.
const maxProblem = 200

// CodeNotJSON means that the annotation is no JSON. The other codes are those of package placement.
const CodeNotJSON = "NotJSON"

// Codes lists what Problem.Code may be.
func Codes() []string { return append(placement.Codes(), CodeNotJSON) }
