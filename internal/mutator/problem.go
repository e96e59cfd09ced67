package mutator

import "fmt"

// Problem is the cause of a denial in parts, for an observer that writes it in its
// own words. Two denials with the same reason and the same problem are the same
// mistake. The texts are at most maxProblem bytes and untrusted; each may be empty.
type Problem struct {
	// Code tells what is wrong with the annotation's content: one of Codes. It is
	// empty if the reason says all.
	Code string
	// Field is the field of the annotation, or the path in the pod, that is wrong.
	Field string
	// Value is what the field holds, or the name that is wrong.
	Value string
	// Detail is an English clause for what Code does not say.
	Detail string
}

// maxProblem bounds each text of a Problem, in bytes.
const maxProblem = 200

// What may be wrong with an annotation: the values of Problem.Code.
const (
	CodeNotJSON        = "NotJSON"        // the text is no JSON from byte Value on
	CodeNotObject      = "NotObject"      // the text is no JSON object
	CodeFieldUnknown   = "FieldUnknown"   // Field is not one of the known ones
	CodeFieldMissing   = "FieldMissing"   // Field is required
	CodeFieldRepeated  = "FieldRepeated"  // Field occurs twice
	CodeFieldNotString = "FieldNotString" // Field holds another type
	CodeFieldEmpty     = "FieldEmpty"     // Field holds the empty string
	CodeFieldInvalid   = "FieldInvalid"   // Value is no label key, or no label value
)

// Codes lists every Code constant.
func Codes() []string {
	return []string{
		CodeNotJSON, CodeNotObject, CodeFieldUnknown, CodeFieldMissing, CodeFieldRepeated, CodeFieldNotString, CodeFieldEmpty, CodeFieldInvalid,
	}
}

// ruleError is what makes an annotation no rule.
type ruleError struct {
	problem Problem
	text    string // a clause to follow "annotation ...: "
	cause   error  // for errors.Is; may be nil
}

func (e *ruleError) Unwrap() error { return e.cause }

func (e *ruleError) Error() string { return e.text }

// ruleProblem returns an error with its parts; format and args make its English.
func ruleProblem(code, field, value, format string, args ...any) *ruleError {
	return &ruleError{problem: Problem{Code: code, Field: clip(field, maxProblem), Value: clip(value, maxProblem)}, text: fmt.Sprintf(format, args...)}
}
