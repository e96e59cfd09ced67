package placement

import (
	"fmt"
	"strconv"
)

// ordinalVariable is what a "value" must hold.
const ordinalVariable = "$(ordinal)"

// fields are the members of a rule as they were written.
type fields struct {
	key, even, odd, value, fallback, when, tolerate field

	values      []string
	valuesSet   bool
	ranges      []indexRange
	ordinalsSet bool
	start       int32
	startSet    bool
}

// rule reads one object, checks it, and returns the rule, which is of no use if
// there is a fault.
func (p *parser) rule() (Rule, error) {
	var f fields
	err := p.scan.Object(func(name []byte) error {
		switch string(name) {
		case "key":
			return p.string("key", &f.key)
		case "even":
			return p.string("even", &f.even)
		case "odd":
			return p.string("odd", &f.odd)
		case "values":
			return p.values(&f)
		case "ordinals":
			return p.ordinals(&f)
		case "default":
			return p.string("default", &f.fallback)
		case "value":
			return p.string("value", &f.value)
		case "start":
			return p.start(&f)
		case "whenUnsatisfiable":
			return p.string("whenUnsatisfiable", &f.when)
		case "tolerate":
			return p.string("tolerate", &f.tolerate)
		}
		p.report(CodeFieldUnknown, string(name), "", "is unknown")
		return p.scan.Skip()
	})
	if p.fault == nil && err == nil {
		p.check(&f)
	}
	p.explain(f.form())
	return Rule{
		Key: f.key.text, Preferred: f.when.text == scheduleAnyway, Tolerate: f.tolerate.set, path: p.path,
		form: f.form(), values: f.cycle(), ranges: f.ranges, fallback: f.fallback.text, hasFallback: f.fallback.set,
		template: f.value.text, start: f.start,
	}, err
}

// The words of a Pod's topologySpreadConstraints, and a taint's effect.
const (
	doNotSchedule  = "DoNotSchedule"
	scheduleAnyway = "ScheduleAnyway"
	noSchedule     = "NoSchedule"
)

func (p *parser) values(f *fields) error {
	p.again("values", &f.valuesSet)
	if p.scan.Peek() != '[' {
		p.report(CodeFieldWrongType, "values", "", "is not an array of strings")
		return p.scan.Skip()
	}
	f.values = make([]string, 0, 4)
	n := 0
	err := p.scan.Array(func() error {
		if n++; n > MaxValues {
			p.report(CodeTooLarge, "values", strconv.Itoa(MaxValues), "holds more than %d values", MaxValues)
			return p.scan.Skip()
		}
		if p.scan.Peek() != '"' {
			p.report(CodeFieldNotString, fmt.Sprintf("values[%d]", n-1), "", "is not a string")
			return p.scan.Skip()
		}
		value, err := p.element("")
		f.values = append(f.values, value)
		return err
	})
	if n == 0 {
		p.report(CodeFieldEmpty, "values", "", "holds no value")
	}
	return err
}

func (p *parser) ordinals(f *fields) error {
	p.again("ordinals", &f.ordinalsSet)
	if p.scan.Peek() != '{' {
		p.report(CodeFieldWrongType, "ordinals", "", "is not an object from index sets to strings")
		return p.scan.Skip()
	}
	err := p.scan.Object(func(name []byte) error {
		set := string(name)
		path := "ordinals[" + set + "]"
		value, err := p.element(path)
		if err != nil || p.fault != nil {
			return err
		}
		ranges, problem := appendRanges(f.ranges, set, value)
		switch {
		case problem != nil:
			p.report(CodeFieldInvalid, path, set, "is no index set: %v; write numbers and ranges, such as 1-2,5", problem)
		case len(ranges) > MaxValues:
			p.report(CodeTooLarge, "ordinals", strconv.Itoa(MaxValues), "holds more than %d numbers and ranges", MaxValues)
		default:
			f.ranges = ranges
		}
		return nil
	})
	if f.ranges == nil {
		p.report(CodeFieldEmpty, "ordinals", "", "holds no index set")
	}
	return err
}

func (p *parser) start(f *fields) error {
	p.again("start", &f.startSet)
	p.scan.Peek()
	begin := p.scan.Pos()
	err := p.scan.Skip()
	if err != nil {
		return err
	}
	text := string(p.scan.Since(begin))
	if f.start, err = decimal(text); err != nil {
		p.report(CodeFieldInvalid, "start", text, "holds %s: it must be a whole number from 0 to %d", quote(text), MaxOrdinal)
	}
	return nil
}

// form says which form of rule was meant.
func (f *fields) form() form {
	switch {
	case f.even.set || f.odd.set:
		return byParity
	case f.valuesSet:
		return byValues
	case f.ordinalsSet || f.fallback.set:
		return byOrdinals
	case f.value.set || f.startSet:
		return byTemplate
	}
	return byParity
}

// cycle is what ordinals go round, nil for the forms that have none.
func (f *fields) cycle() []string {
	if f.even.set {
		return []string{f.even.text, f.odd.text}
	}
	return f.values
}
