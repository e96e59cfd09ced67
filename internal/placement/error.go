package placement

import (
	"fmt"

	"sts-mutating-webhook/internal/printable"
)

// Error says what is wrong with an annotation.
type Error struct {
	// Code is one of Codes; empty if NotJSON.
	Code string
	// Field is the path to the field within the annotation, such as key or
	// [1].values[2], at most 200 bytes. Empty: the text as a whole.
	Field string
	// Value is what the field holds, or what Code says, at most 200 bytes. It is
	// empty where the code says all. If NotJSON, the byte from which on it is none.
	Value string
	// Problem is a bounded clause to follow "annotation ...: ". It names the
	// field, quotes its value, and says what to do if that is not plain.
	Problem string
	// Form is the form that was meant, as Rule.Form names it; "even/odd" or empty if
	// it cannot be recognized.
	Form string
	// Example is a rule of that form, with placeholders, for a message to tell the
	// user to write.
	Example string
	// NotJSON means that the text is no JSON at all.
	NotJSON bool
}

func (e *Error) Error() string { return e.Problem }

// maxPart bounds Error.Field and Error.Value, in bytes.
const maxPart = 200

// fieldError is an Error about a field, whose name goes before the message. Its
// Example is still missing.
func fieldError(code, path, value, format string, args ...any) *Error {
	return &Error{
		Code: code, Field: printable.Clip(path, maxPart), Value: printable.Clip(value, maxPart),
		Problem: "field " + printable.Quote(path) + " " + fmt.Sprintf(format, args...),
	}
}

// What may be wrong with an annotation that is JSON: the values of Error.Code, for
// whoever tells it in other words.
const (
	CodeNotObject      = "NotObject"      // the annotation, or an element of its array, is no JSON object
	CodeNoRule         = "NoRule"         // the array is empty
	CodeFieldUnknown   = "FieldUnknown"   // Field is not one of the known ones
	CodeFieldMissing   = "FieldMissing"   // Field is required
	CodeFieldRepeated  = "FieldRepeated"  // Field occurs twice
	CodeFieldNotString = "FieldNotString" // Field is no string
	CodeFieldWrongType = "FieldWrongType" // Field is no array, no object, as it should be
	CodeFieldEmpty     = "FieldEmpty"     // Field holds nothing
	CodeFieldInvalid   = "FieldInvalid"   // Field must not hold Value
	CodeFieldConflict  = "FieldConflict"  // Field does not go with the field that Value names
	CodeKeyRepeated    = "KeyRepeated"    // Value is the key of another rule as well
	CodeOverlap        = "Overlap"        // Field and the one that Value names have ordinals in common
	CodeTooLarge       = "TooLarge"       // Field holds more than Value of what it may hold
	CodeNoValue        = "NoValue"        // Field has nothing for the ordinal that is Value
)

// Codes lists every Code constant.
func Codes() []string {
	return []string{
		CodeNotObject, CodeNoRule, CodeFieldUnknown, CodeFieldMissing, CodeFieldRepeated, CodeFieldNotString, CodeFieldWrongType,
		CodeFieldEmpty, CodeFieldInvalid, CodeFieldConflict, CodeKeyRepeated, CodeOverlap, CodeTooLarge, CodeNoValue,
	}
}

// form is how a rule comes from an ordinal to a value.
type form int

const (
	byParity form = iota // also: none, which is how rules of version 1 are explained
	byValues
	byOrdinals
	byTemplate
)

// examples are indexed by form.
var examples = [...]string{
	byParity:   Example,
	byValues:   `{"key": "<node label>", "values": ["<first value>", "<second value>", "<third value>"]}`,
	byOrdinals: `{"key": "<node label>", "ordinals": {"0": "<value>", "1-2,5": "<value>"}, "default": "<value for all others>"}`,
	byTemplate: `{"key": "<node label>", "value": "<text with $(ordinal)>", "start": 0}`,
}

// String is the form's name.
func (f form) String() string {
	return [...]string{byParity: "even/odd", byValues: "values", byOrdinals: "ordinals", byTemplate: "value"}[f]
}

// Example is a rule for a user who has written none.
const Example = `{"key": "<node label>", "even": "<value for even ordinals>", "odd": "<value for odd ordinals>"}`
