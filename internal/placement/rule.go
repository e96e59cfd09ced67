package placement

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Rules are the rules of an annotation, as Parse returns them: at least one, no
// key twice.
type Rules []Rule

// Rule gives every ordinal a value for one node label. Only Parse makes rules.
type Rule struct {
	// Key is the node label.
	Key string
	// Preferred (whenUnsatisfiable: ScheduleAnyway) means that the pod may run
	// elsewhere if no such node has room. False: it stays Pending.
	Preferred bool
	// Tolerate (tolerate: NoSchedule) means that the pod tolerates the taint
	// key=value:NoSchedule of its nodes.
	Tolerate bool

	form   form
	path   string // before the names of its fields: "" or "[1]."
	values []string
	// ranges are sorted and do not overlap. They are used if not nil, and
	// fallback is then the default, if hasFallback.
	ranges      []indexRange
	fallback    string
	hasFallback bool
	// template is used if not empty.
	template string
	start    int32
}

// Form names the fields by which the rule comes from an ordinal to a value.
func (r *Rule) Form() string {
	return r.form.String()
}

// Assignment is what a rule gives to one ordinal.
type Assignment struct {
	Key, Value          string
	Preferred, Tolerate bool // as in Rule
}

// Assign appends what each rule gives to the ordinal, which must not be
// negative, in the order of the rules. An error is an *Error: the rules have
// nothing for this ordinal.
func (r Rules) Assign(dst []Assignment, ordinal int32) ([]Assignment, error) {
	for i := range r {
		rule := &r[i]
		value, err := rule.Value(ordinal)
		if err != nil {
			return nil, err
		}
		dst = append(dst, Assignment{rule.Key, value, rule.Preferred, rule.Tolerate})
	}
	return dst, nil
}

// Value returns the value for the ordinal, which must not be negative. An error
// is an *Error: the rule has none.
func (r *Rule) Value(ordinal int32) (string, error) {
	switch {
	case r.template != "":
		n := int64(ordinal) + int64(r.start)
		if n > MaxOrdinal {
			return "", r.noValue("start", byTemplate, ordinal, "is %d, and with ordinal %d makes a number above %d; lower it", r.start, ordinal, MaxOrdinal)
		}
		return strings.ReplaceAll(r.template, ordinalVariable, strconv.FormatInt(n, 10)), nil
	case r.ranges != nil:
		if value, ok := lookup(r.ranges, ordinal); ok {
			return value, nil
		}
		if !r.hasFallback {
			return "", r.noValue("ordinals", byOrdinals, ordinal, `has no value for ordinal %d, and there is no "default"; add the ordinal, or a default`, ordinal)
		}
		return r.fallback, nil
	}
	return r.values[int(ordinal)%len(r.values)], nil
}

// noValue is the Error of a rule that has nothing for an ordinal.
func (r *Rule) noValue(field string, f form, ordinal int32, format string, args ...any) error {
	e := fieldError(CodeNoValue, r.path+field, strconv.FormatInt(int64(ordinal), 10), format, args...)
	e.Form, e.Example = f.String(), examples[f]
	return e
}

// indexRange is a part of an index set, and the value of its ordinals.
type indexRange struct {
	first, last int32
	value       string
	set         string // the whole index set, for messages
}

func lookup(ranges []indexRange, ordinal int32) (value string, ok bool) {
	i, _ := slices.BinarySearchFunc(ranges, ordinal, func(r indexRange, ordinal int32) int { return cmp.Compare(r.last, ordinal) })
	if i == len(ranges) || ranges[i].first > ordinal {
		return "", false
	}
	return ranges[i].value, true
}
