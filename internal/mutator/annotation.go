package mutator

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"

	"sts-mutating-webhook/internal/jsonscan"
)

// rule is the content of the annotation.
type rule struct {
	key       string // label key of the nodes
	even, odd string // label values for even and odd ordinals
}

func (r rule) value(ordinal int32) string {
	if ordinal%2 == 0 {
		return r.even
	}
	return r.odd
}

// errNotJSON marks an annotation that is no JSON at all. Every other error of
// parseRule is about an annotation that is JSON and says the wrong thing.
var errNotJSON = errors.New("it is not valid JSON")

// parseRule reads the annotation: a JSON object of exactly the strings key,
// even and odd. It is strict because a field that is misspelt, doubled or of
// another type is a mistake, and guessing what was meant could bind a volume to
// the wrong node. Both values are checked, not only the one that the ordinal
// asks for: the mistake should show with the first pod, not the second.
//
// Errors name the field and are clauses to follow "annotation ...: ".
func parseRule(text []byte) (rule, error) {
	p := ruleParser{scan: jsonscan.New(text)}
	err := p.document()
	if err == nil {
		err = p.scan.End()
	}
	if err != nil {
		return rule{}, fmt.Errorf("%w: %w", errNotJSON, err)
	}
	r := rule{key: p.key.value, even: p.even.value, odd: p.odd.value}
	p.require("key", p.key)
	p.require("even", p.even)
	p.require("odd", p.odd)
	if p.fault == nil && r.key == "" {
		p.blame("field %q is empty", "key")
	}
	p.check("key", r.key, content.IsLabelKey)
	p.check("even", r.even, content.IsLabelValue)
	p.check("odd", r.odd, content.IsLabelValue)
	if p.fault != nil {
		return rule{}, p.fault
	}
	return r, nil
}

// ruleParser reads one annotation.
type ruleParser struct {
	scan           jsonscan.Scanner
	key, even, odd member
	fault          error // the first thing that is JSON but no rule
}

func (p *ruleParser) blame(format string, args ...any) {
	if p.fault == nil {
		p.fault = fmt.Errorf(format, args...)
	}
}

// document reads the whole text but for trailing white space.
func (p *ruleParser) document() error {
	if p.scan.Peek() != '{' {
		p.blame("it is not a JSON object")
		return p.scan.Skip()
	}
	return p.scan.Object(func(name []byte) error {
		switch string(name) {
		case "key":
			return p.text("key", &p.key)
		case "even":
			return p.text("even", &p.even)
		case "odd":
			return p.text("odd", &p.odd)
		}
		p.blame("field %s is unknown", quote(string(name)))
		return p.scan.Skip()
	})
}

func (p *ruleParser) text(name string, into *member) error {
	if into.set {
		p.blame("field %q occurs twice", name)
	}
	into.set = true
	if p.scan.Peek() != '"' {
		p.blame("field %q is not a string", name)
		return p.scan.Skip()
	}
	text, err := p.scan.Text()
	into.value = string(text)
	return err
}

func (p *ruleParser) require(name string, field member) {
	if !field.set {
		p.blame("field %q is missing", name)
	}
}

// check applies apimachinery's rules for labels, which the API server would
// otherwise apply to the pod, blaming a nodeSelector that its author never
// wrote.
func (p *ruleParser) check(name, value string, validate func(string) []string) {
	if p.fault != nil {
		return
	}
	if problems := validate(value); len(problems) > 0 {
		p.blame("field %q holds %s: %s", name, quote(value), strings.Join(problems, "; "))
	}
}
