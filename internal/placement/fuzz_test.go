package placement

import (
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation"
	kjson "sigs.k8s.io/json"
)

// naiveRule is a rule as encoding/json and a few lines of the plainest code
// understand it: slow, without messages, and written without a look at Parse.
type naiveRule struct {
	Key               *string             `json:"key"`
	Even              *string             `json:"even"`
	Odd               *string             `json:"odd"`
	Values            *[]*string          `json:"values"`
	Ordinals          *map[string]*string `json:"ordinals"`
	Default           *string             `json:"default"`
	Value             *string             `json:"value"`
	Start             *json.RawMessage    `json:"start"`
	WhenUnsatisfiable *string             `json:"whenUnsatisfiable"`
	Tolerate          *string             `json:"tolerate"`
}

var naiveNumber = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)

// number reads a decimal, -1 if it is none.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || !naiveNumber.MatchString(text) {
		return -1
	}
	return n
}

func isLabel(values ...string) bool {
	for _, v := range values {
		if len(validation.IsValidLabelValue(v)) > 0 {
			return false
		}
	}
	return true
}

// has reports whether an index set holds the ordinal, and whether it is one.
func has(set string, ordinal int64) (found, ok bool) {
	for _, part := range strings.Split(set, ",") {
		from, to, ranged := strings.Cut(part, "-")
		if !ranged {
			to = from
		}
		first, last := number(from), number(to)
		if first < 0 || last < first {
			return false, false
		}
		found = found || first <= ordinal && ordinal <= last
	}
	return found, true
}

// parts returns the first and last ordinals of an index set's parts.
func parts(set string) (all [][2]int64) {
	for _, part := range strings.Split(set, ",") {
		from, to, ranged := strings.Cut(part, "-")
		if !ranged {
			to = from
		}
		all = append(all, [2]int64{number(from), number(to)})
	}
	return all
}

// valid reports whether the rule is one.
func (r naiveRule) valid() bool {
	if r.Key == nil || len(validation.IsQualifiedName(*r.Key)) > 0 ||
		r.WhenUnsatisfiable != nil && *r.WhenUnsatisfiable != "DoNotSchedule" && *r.WhenUnsatisfiable != "ScheduleAnyway" ||
		r.Tolerate != nil && *r.Tolerate != "NoSchedule" {
		return false
	}
	parity, values, ordinals, value := r.Even != nil || r.Odd != nil, r.Values != nil, r.Ordinals != nil || r.Default != nil, r.Value != nil || r.Start != nil
	switch {
	case parity && !values && !ordinals && !value:
		return r.Even != nil && r.Odd != nil && isLabel(*r.Even, *r.Odd)
	case !parity && values && !ordinals && !value:
		for _, v := range *r.Values {
			if v == nil || !isLabel(*v) {
				return false
			}
		}
		return len(*r.Values) > 0 && len(*r.Values) <= MaxValues
	case !parity && !values && ordinals && !value:
		return r.validOrdinals()
	case !parity && !values && !ordinals && value:
		return r.Value != nil && strings.Contains(*r.Value, "$(ordinal)") &&
			isLabel(strings.ReplaceAll(*r.Value, "$(ordinal)", "2147483647")) && (r.Start == nil || number(string(*r.Start)) >= 0)
	}
	return false
}

func (r naiveRule) validOrdinals() bool {
	if r.Ordinals == nil || len(*r.Ordinals) == 0 || r.Default != nil && !isLabel(*r.Default) {
		return false
	}
	var all [][2]int64
	for set, v := range *r.Ordinals {
		if _, ok := has(set, 0); !ok || v == nil || !isLabel(*v) {
			return false
		}
		for _, p := range parts(set) {
			for _, q := range all {
				if p[0] <= q[1] && q[0] <= p[1] {
					return false
				}
			}
			all = append(all, p)
		}
	}
	return len(all) <= MaxValues
}

// give returns the value, "error" if there is none.
func (r naiveRule) give(ordinal int64) string {
	switch {
	case r.Even != nil && ordinal%2 == 0:
		return *r.Even
	case r.Even != nil:
		return *r.Odd
	case r.Values != nil:
		return *(*r.Values)[ordinal%int64(len(*r.Values))]
	case r.Ordinals != nil:
		for set, v := range *r.Ordinals {
			if found, _ := has(set, ordinal); found {
				return *v
			}
		}
		if r.Default != nil {
			return *r.Default
		}
		return "error"
	}
	if r.Start != nil {
		ordinal += number(string(*r.Start))
	}
	if ordinal > 2147483647 {
		return "error"
	}
	return strings.ReplaceAll(*r.Value, "$(ordinal)", strconv.FormatInt(ordinal, 10))
}

// naiveParse returns the rules, nil if the text holds none.
func naiveParse(text []byte) []naiveRule {
	// encoding/json stops at 10,000 levels; whatever is that deep is no rule.
	var rules []naiveRule
	strict, err := kjson.UnmarshalStrict(text, &rules)
	if err != nil {
		rules = make([]naiveRule, 1)
		strict, err = kjson.UnmarshalStrict(text, &rules[0])
	}
	if err != nil || len(strict) > 0 || hasNull(text) || len(rules) == 0 || len(rules) > MaxRules || len(text) > MaxBytes {
		return nil
	}
	keys := map[string]bool{}
	for _, r := range rules {
		if !r.valid() || keys[*r.Key] {
			return nil
		}
		keys[*r.Key] = true
	}
	return rules
}

// hasNull reports whether a null is anywhere: to Go's decoders it is the same as
// nothing, to Parse it is an error.
func hasNull(text []byte) bool {
	var v any
	if json.Unmarshal(text, &v) != nil {
		return false
	}
	var null func(v any) bool
	null = func(v any) bool {
		switch v := v.(type) {
		case nil:
			return true
		case []any:
			for _, e := range v {
				if null(e) {
					return true
				}
			}
		case map[string]any:
			for _, e := range v {
				if null(e) {
					return true
				}
			}
		}
		return false
	}
	return null(v)
}

func FuzzParse(f *testing.F) {
	for _, entry := range readCorpus(f) {
		f.Add([]byte(entry.Text), int32(2))
	}
	for _, seed := range []string{
		``, `null`, `[]`, `{}`, `{"key":"\u006b","even":"\ud83d","odd":"b"}`, "{\"key\":\"\xff\"}", `{"key":"k","even":"a","odd":"b"}x`, strings.Repeat(`[`, 3*10_000),
		`{"key":"k","even":"a","odd":"b","x":{"odd":[1,{}]}}`, `{"key":"k","value":"$(ordinal)","start":2147483647}`, `{"key":"k","value":"$(ordinal)","start":1e0}`,
		`[{"key":"k","even":"a","odd":"b"},{"k\u0065y":"j","values":["a","\u0062"]},{"key":"i","ordinals":{"0-1\u002c4":"a"}}]`,
	} {
		f.Add([]byte(seed), int32(0))
	}
	f.Fuzz(func(t *testing.T, text []byte, ordinal int32) {
		ordinal &= MaxOrdinal
		rules, err := Parse(text)
		want := naiveParse(text)
		if (err == nil) != (want != nil) || len(rules) != len(want) {
			t.Fatalf("got %+v, error %v, want %+v: %q", rules, err, want, text)
		}
		for i := range rules {
			for _, o := range []int32{0, 1, 2, 3, ordinal, MaxOrdinal} {
				got, err := rules[i].Value(o)
				if err != nil {
					got = "error"
				}
				w := want[i]
				wantRule := Rule{Key: *w.Key, Preferred: w.WhenUnsatisfiable != nil && *w.WhenUnsatisfiable == "ScheduleAnyway", Tolerate: w.Tolerate != nil}
				gotRule := Rule{Key: rules[i].Key, Preferred: rules[i].Preferred, Tolerate: rules[i].Tolerate}
				if diff := cmp.Diff(wantRule, gotRule, cmp.AllowUnexported(Rule{})); diff != "" || got != w.give(int64(o)) {
					t.Fatalf("ordinal %d: got %q, want %q; rules differ (-want +got):\n%s%q", o, got, w.give(int64(o)), diff, text)
				}
			}
		}
		fault, isFault := errors.AsType[*Error](err)
		if err != nil && (!isFault || fault.Problem == "" || fault.Example == "" || len(fault.Problem) > 1000) {
			t.Errorf("the error is not explained: %#v", err)
		}
		if syntaxError, _ := kjson.SyntaxErrorOffset(kjson.UnmarshalCaseSensitivePreserveInts(text, new(any))); isFault && fault.NotJSON && !syntaxError {
			t.Errorf("error %v calls JSON malformed: %q", err, text)
		}
	})
}
