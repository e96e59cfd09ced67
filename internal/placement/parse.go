package placement

import (
	"fmt"
	"strconv"
	"sync/atomic"

	"sts-mutating-webhook/internal/jsonscan"
	"sts-mutating-webhook/internal/printable"
)

func quote(text string) string { return printable.Quote(text) }

// parsed is the annotation that was right last, and its rules. The pods of a
// StatefulSet share their annotation and come together, so most are read once.
var parsed atomic.Pointer[struct {
	annotation string
	rules      Rules
}]

// Parse reads the annotation. An error is an *Error, about the first mistake: a
// text that is no JSON before everything else, then in the order of the rules.
// The rules may be shared with other callers and must not be changed.
func Parse(annotation []byte) (Rules, error) {
	if last := parsed.Load(); last != nil && last.annotation == string(annotation) {
		return last.rules, nil
	}
	rules, err := parse(annotation)
	if err == nil {
		parsed.Store(&struct {
			annotation string
			rules      Rules
		}{string(annotation), rules})
	}
	return rules, err
}

func parse(annotation []byte) (Rules, error) {
	if len(annotation) > MaxBytes {
		return nil, &Error{Code: CodeTooLarge, Value: strconv.Itoa(MaxBytes), Problem: fmt.Sprintf("it has %d bytes, and may have %d", len(annotation), MaxBytes), Example: Example}
	}
	p := parser{scan: jsonscan.New(annotation), text: string(annotation)}
	rules, err := p.document()
	if err == nil {
		err = p.scan.End()
	}
	if err != nil {
		return nil, &Error{Value: strconv.Itoa(p.scan.Pos()), Problem: "it is not valid JSON: " + err.Error(), Example: Example, NotJSON: true}
	}
	if p.fault != nil {
		return nil, p.fault
	}
	return rules, nil
}

// parser reads one annotation. Its methods return an error only for what is no
// JSON; of what is JSON and no rule, the first is kept in fault, and reading
// goes on.
type parser struct {
	scan   jsonscan.Scanner
	text   string // what scan reads; values are parts of it, not copies
	path   string // of the rule: "" or "[1]."
	before Rules  // the rules of the array that come before it
	fault  *Error
}

// report notes that the field is wrong. Its Example is set when the form of the
// rule is known.
func (p *parser) report(code, field, value, format string, args ...any) {
	if p.fault == nil {
		p.fault = fieldError(code, p.path+field, value, format, args...)
	}
}

// reportWhole notes that the annotation is wrong as a whole.
func (p *parser) reportWhole(code, value, format string, args ...any) {
	if p.fault == nil {
		p.fault = &Error{Code: code, Value: value, Problem: fmt.Sprintf(format, args...), Example: Example}
	}
}

// document reads the whole text but for trailing white space.
func (p *parser) document() (Rules, error) {
	switch p.scan.Peek() {
	case '{':
		rule, err := p.rule()
		return Rules{rule}, err
	case '[':
		return p.array()
	}
	p.reportWhole(CodeNotObject, "", "it is not a JSON object")
	return nil, p.scan.Skip()
}

func (p *parser) array() (Rules, error) {
	n := 0
	err := p.scan.Array(func() error {
		n++
		if n > MaxRules {
			p.reportWhole(CodeTooLarge, strconv.Itoa(MaxRules), "it holds more than %d rules", MaxRules)
			return p.scan.Skip()
		}
		p.path = fmt.Sprintf("[%d]", n-1)
		if p.scan.Peek() != '{' {
			p.report(CodeNotObject, "", "", "is not a JSON object")
			p.explain(byParity)
			return p.scan.Skip()
		}
		p.path += "."
		rule, err := p.rule()
		p.before = append(p.before, rule)
		return err
	})
	if n == 0 {
		p.reportWhole(CodeNoRule, "", "the array holds no rule")
	}
	return p.before, err
}

// explain adds what should have been written to a fault that was just noted.
func (p *parser) explain(f form) {
	if p.fault != nil && p.fault.Example == "" {
		p.fault.Form, p.fault.Example = f.String(), examples[f]
	}
}

// field is a string in a rule.
type field struct {
	text string
	set  bool // it occurred, be it with a wrong type
}

// again reports whether a field was seen before, reports it if so, and marks it.
func (p *parser) again(name string, seen *bool) {
	if *seen {
		p.report(CodeFieldRepeated, name, "", "occurs twice")
	}
	*seen = true
}

// string reads a field that is a string.
func (p *parser) string(name string, into *field) error {
	p.again(name, &into.set)
	text, err := p.element(name)
	into.text = text
	return err
}

// element reads a string, without a copy if it holds no escapes.
func (p *parser) element(name string) (string, error) {
	if p.scan.Peek() != '"' {
		p.report(CodeFieldNotString, name, "", "is not a string")
		return "", p.scan.Skip()
	}
	start := p.scan.Pos()
	text, err := p.scan.Text()
	if err != nil {
		return "", err
	}
	if end := p.scan.Pos(); end-start == len(text)+2 && p.text[start+1:end-1] == string(text) {
		return p.text[start+1 : end-1], nil
	}
	return string(text), nil
}
