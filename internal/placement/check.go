package placement

import (
	"fmt"
	"strings"
)

// check looks at the fields together, then at their texts.
func (p *parser) check(f *fields) {
	p.require("key", f.key.set)
	p.checkForm(f)
	if f.key.text == "" {
		p.report(CodeFieldEmpty, "key", "", "is empty")
	}
	p.checkText("key", f.key.text, keyProblem)
	p.checkUnique(f.key.text)
	p.checkWord("whenUnsatisfiable", f.when, doNotSchedule, scheduleAnyway)
	p.checkWord("tolerate", f.tolerate, noSchedule)
	if p.fault != nil {
		return
	}
	p.checkText("even", f.even.text, valueProblem)
	p.checkText("odd", f.odd.text, valueProblem)
	for i, value := range f.values {
		if valueProblem(value) != "" {
			p.checkText(fmt.Sprintf("values[%d]", i), value, valueProblem)
		}
	}
	p.checkRanges(f)
	p.checkText("default", f.fallback.text, valueProblem)
	if f.value.set {
		p.checkTemplate(f.value.text)
	}
}

// checkUnique refuses a second rule for the same node label: one value of a
// pod's nodeSelector would silently lose.
func (p *parser) checkUnique(key string) {
	for i := range p.before {
		if p.before[i].Key == key {
			p.report(CodeKeyRepeated, "key", key, "holds %s, as %s does; write one rule for each node label", quote(key), quote(p.before[i].path+"key"))
		}
	}
}

func (p *parser) require(name string, set bool) {
	if !set {
		p.report(CodeFieldMissing, name, "", "is missing")
	}
}

// checkForm requires exactly one form, whole.
func (p *parser) checkForm(f *fields) {
	meant := f.form()
	parity := f.even.set || f.odd.set
	for _, other := range []struct {
		name string
		set  bool
		form form
	}{
		{"values", f.valuesSet, byValues}, {"ordinals", f.ordinalsSet, byOrdinals}, {"default", f.fallback.set, byOrdinals},
		{"value", f.value.set, byTemplate}, {"start", f.startSet, byTemplate},
	} {
		if other.set && other.form != meant {
			p.report(CodeFieldConflict, other.name, f.mainField(), `does not go with %q; a rule has "even" and "odd", or "values", or "ordinals" and perhaps "default", or "value" and perhaps "start"`, f.mainField())
		}
	}
	switch {
	case meant == byOrdinals:
		p.require("ordinals", f.ordinalsSet)
	case meant == byTemplate:
		p.require("value", f.value.set)
	case meant == byParity && !parity && (p.path != "" || f.when.set || f.tolerate.set):
		p.report(CodeFieldMissing, "key", "", `has no values: give "even" and "odd", or "values", or "ordinals", or "value"`)
	case meant == byParity:
		p.require("even", f.even.set)
		p.require("odd", f.odd.set)
	}
}

// mainField is a field that the rule has because of its form.
func (f *fields) mainField() string {
	switch {
	case f.even.set:
		return "even"
	case f.odd.set:
		return "odd"
	case f.valuesSet:
		return "values"
	case f.ordinalsSet:
		return "ordinals"
	case f.fallback.set:
		return "default"
	}
	return "value"
}

// checkText applies apimachinery's rules for labels, which the API server would
// otherwise apply to the pod, blaming a nodeSelector that its author never
// wrote.
func (p *parser) checkText(name, text string, problem func(string) string) {
	if p.fault != nil {
		return
	}
	if problem := problem(text); problem != "" {
		p.report(CodeFieldInvalid, name, text, "holds %s: %s", quote(text), problem)
	}
}

func (p *parser) checkWord(name string, f field, words ...string) {
	if !f.set {
		return
	}
	for _, word := range words {
		if f.text == word {
			return
		}
	}
	p.report(CodeFieldInvalid, name, f.text, "holds %s: it must be %s, or be left out", quote(f.text), strings.Join(words, " or "))
}

func (p *parser) checkRanges(f *fields) {
	for _, r := range f.ranges {
		if valueProblem(r.value) != "" {
			p.checkText("ordinals["+r.set+"]", r.value, valueProblem)
		}
	}
	if a, b := sortRanges(f.ranges); a != nil {
		p.report(CodeOverlap, "ordinals["+b.set+"]", "ordinals["+a.set+"]", "has ordinal %d in common with %s; give each ordinal one value", b.first, quote("ordinals["+a.set+"]"))
	}
}

// checkTemplate checks the longest value that the template can give; the others
// differ from it in digits only.
func (p *parser) checkTemplate(text string) {
	if !strings.Contains(text, ordinalVariable) {
		p.report(CodeFieldInvalid, "value", text, "holds %s, which lacks %s: every pod would go to the same nodes; add it, or use \"values\"", quote(text), ordinalVariable)
		return
	}
	longest := strings.ReplaceAll(text, ordinalVariable, fmt.Sprint(MaxOrdinal))
	if strings.Contains(longest, "$") {
		p.report(CodeFieldInvalid, "value", text, "holds %s: only %s is replaced, and a label value cannot hold another \"$\"", quote(text), ordinalVariable)
		return
	}
	if problem := valueProblem(longest); problem != "" {
		p.report(CodeFieldInvalid, "value", text, "holds %s, which gives %s for the largest ordinal: %s", quote(text), quote(longest), problem)
	}
}
