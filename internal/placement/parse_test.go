package placement

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/validation"
)

// assigned is what the rules give to the ordinals, one string each: key=value,
// with a "?" if preferred and a "!" if tolerated. An error stands for itself.
func assigned(rules Rules, ordinals ...int32) (all []string) {
	for _, ordinal := range ordinals {
		assignments, err := rules.Assign(nil, ordinal)
		if err != nil {
			all = append(all, "error: "+err.Error())
			continue
		}
		var texts []string
		for _, a := range assignments {
			text := a.Key + "=" + a.Value
			if a.Preferred {
				text += "?"
			}
			if a.Tolerate {
				text += "!"
			}
			texts = append(texts, text)
		}
		all = append(all, strings.Join(texts, " "))
	}
	return all
}

func TestRulesGiveOrdinalsTheirValues(t *testing.T) {
	long := strings.Repeat("v", 63)
	for sentence, c := range map[string]struct {
		text string
		want []string // for the ordinals 0, 1, 2, 3, 5 and 2147483647
	}{
		"by parity":                       {`{"key":"k","even":"a","odd":"b"}`, []string{"k=a", "k=b", "k=a", "k=b", "k=b", "k=b"}},
		"by parity, in another order":     {`{"odd":"b","key":"k","even":"a"}`, []string{"k=a", "k=b", "k=a", "k=b", "k=b", "k=b"}},
		"with white space around":         {" \r\n\t{ \"key\" : \"k\" , \"even\" : \"a\" , \"odd\" : \"b\" } \n", []string{"k=a", "k=b", "k=a", "k=b", "k=b", "k=b"}},
		"with escapes":                    {`{"\u006bey":"\u006b","even":"\u0061","odd":"b"}`, []string{"k=a", "k=b", "k=a", "k=b", "k=b", "k=b"}},
		"with a prefix in the key":        {`{"key":"topology.kubernetes.io/zone","values":["a"]}`, repeat("topology.kubernetes.io/zone=a", 6)},
		"with empty label values":         {`{"key":"k","even":"","odd":"b"}`, []string{"k=", "k=b", "k=", "k=b", "k=b", "k=b"}},
		"with the longest value":          {`{"key":"k","values":["` + long + `"]}`, repeat("k="+long, 6)},
		"round a list of one":             {`{"key":"k","values":["a"]}`, repeat("k=a", 6)},
		"round a list of three":           {`{"key":"k","values":["a","b","c"]}`, []string{"k=a", "k=b", "k=c", "k=a", "k=c", "k=b"}},
		"round a list that repeats":       {`{"key":"k","values":["a","a","b"]}`, []string{"k=a", "k=a", "k=b", "k=a", "k=b", "k=a"}},
		"by index set":                    {`{"key":"k","ordinals":{"5,1-2":"b","0":"a"},"default":"c"}`, []string{"k=a", "k=b", "k=b", "k=c", "k=b", "k=c"}},
		"by an index set of everything":   {`{"key":"k","ordinals":{"0-2147483647":"a"}}`, repeat("k=a", 6)},
		"by index sets that touch":        {`{"key":"k","ordinals":{"2-2147483647":"b","0-1":"a"}}`, []string{"k=a", "k=a", "k=b", "k=b", "k=b", "k=b"}},
		"by a range of one":               {`{"key":"k","ordinals":{"1-1":"b"},"default":"a"}`, []string{"k=a", "k=b", "k=a", "k=a", "k=a", "k=a"}},
		"with an empty default":           {`{"key":"k","ordinals":{"1":"b"},"default":""}`, []string{"k=", "k=b", "k=", "k=", "k=", "k="}},
		"by number":                       {`{"key":"k","value":"deb-$(ordinal)"}`, []string{"k=deb-0", "k=deb-1", "k=deb-2", "k=deb-3", "k=deb-5", "k=deb-2147483647"}},
		"by number, wherever it stands":   {`{"key":"k","value":"$(ordinal)-$(ordinal).x"}`, []string{"k=0-0.x", "k=1-1.x", "k=2-2.x", "k=3-3.x", "k=5-5.x", "k=2147483647-2147483647.x"}},
		"with the default spelt out":      {`{"key":"k","values":["a"],"whenUnsatisfiable":"DoNotSchedule"}`, repeat("k=a", 6)},
		"as a preference":                 {`{"key":"k","values":["a"],"whenUnsatisfiable":"ScheduleAnyway"}`, repeat("k=a?", 6)},
		"with a toleration":               {`{"key":"k","even":"a","odd":"a","tolerate":"NoSchedule"}`, repeat("k=a!", 6)},
		"as a preference with toleration": {`{"tolerate":"NoSchedule","whenUnsatisfiable":"ScheduleAnyway","key":"k","values":["a"]}`, repeat("k=a?!", 6)},
		"for several labels": {`[{"key":"k","even":"a","odd":"b"},{"key":"j","values":["x"],"tolerate":"NoSchedule"}]`,
			[]string{"k=a j=x!", "k=b j=x!", "k=a j=x!", "k=b j=x!", "k=b j=x!", "k=b j=x!"}},
		"for one label in an array": {`[{"key":"k","values":["a"]}]`, repeat("k=a", 6)},
		"but not where there is none": {`[{"key":"j","values":["x"]},{"key":"k","ordinals":{"0-2":"a"}}]`, append(repeat("j=x k=a", 3),
			`error: field "[1].ordinals" has no value for ordinal 3, and there is no "default"; add the ordinal, or a default`,
			`error: field "[1].ordinals" has no value for ordinal 5, and there is no "default"; add the ordinal, or a default`,
			`error: field "[1].ordinals" has no value for ordinal 2147483647, and there is no "default"; add the ordinal, or a default`)},
		"but not above the largest number": {`{"key":"k","value":"$(ordinal)","start":1}`, []string{"k=1", "k=2", "k=3", "k=4", "k=6",
			`error: field "start" is 1, and with ordinal 2147483647 makes a number above 2147483647; lower it`}},
	} {
		t.Run(sentence, func(t *testing.T) {
			rules, err := Parse([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, assigned(rules, 0, 1, 2, 3, 5, MaxOrdinal)); diff != "" {
				t.Errorf("values differ (-want +got):\n%s", diff)
			}
		})
	}
}

func repeat(text string, n int) (all []string) {
	for range n {
		all = append(all, text)
	}
	return all
}

// listOf is n JSON strings.
func listOf(n int) string { return strings.Join(repeat(`"v"`, n), ",") }

// setsOf is n index sets.
func setsOf(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"%d":"v"`, i))
	}
	return strings.Join(all, ",")
}

func rulesOf(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`{"key":"k%d","values":["v"]}`, i))
	}
	return "[" + strings.Join(all, ",") + "]"
}

func TestBoundsAreWhatTheyAreSaidToBe(t *testing.T) {
	for sentence, c := range map[string]struct{ most, more, want string }{
		"rules": {rulesOf(MaxRules), rulesOf(MaxRules + 1), `it holds more than 16 rules`},
		"values": {`{"key":"k","values":[` + listOf(MaxValues) + `]}`, `{"key":"k","values":[` + listOf(MaxValues+1) + `]}`,
			`field "values" holds more than 512 values`},
		"index sets": {`{"key":"k","ordinals":{` + setsOf(MaxValues) + `}}`, `{"key":"k","ordinals":{` + setsOf(MaxValues+1) + `}}`,
			`field "ordinals" holds more than 512 numbers and ranges`},
		"bytes": {`{"key":"k","values":["v"]}` + strings.Repeat(" ", MaxBytes-26), `{"key":"k","values":["v"]}` + strings.Repeat(" ", MaxBytes-25),
			`it has 262145 bytes, and may have 262144`},
	} {
		t.Run(sentence, func(t *testing.T) {
			if _, err := Parse([]byte(c.most)); err != nil {
				t.Errorf("the most: %v", err)
			}
			if _, err := Parse([]byte(c.more)); err == nil || err.Error() != c.want {
				t.Errorf("one more: got error %v, want %s", err, c.want)
			}
		})
	}
	if MaxBytes != validation.TotalAnnotationSizeLimitB {
		t.Errorf("MaxBytes is not Kubernetes' %d", validation.TotalAnnotationSizeLimitB)
	}
}

func TestTheAnnotationBeforeIsNotTakenForThisOne(t *testing.T) {
	value := func(annotation string) string {
		rules, err := Parse([]byte(annotation))
		if err != nil {
			return err.Error()
		}
		v, _ := rules[0].Value(0)
		return v
	}
	const a, b = `{"key":"k","even":"a","odd":"x"}`, `{"key":"k","even":"b","odd":"x"}`
	for i, want := range []string{"a", "a", "b", "a"} {
		if got := value([]string{a, a, b, a}[i]); got != want {
			t.Errorf("annotation %d: got %q, want %q", i, got, want)
		}
	}
	for range 2 {
		if got := value(`{"key":"k"}`); !strings.Contains(got, "missing") {
			t.Errorf("a mistake: got %q", got)
		}
	}
}

// The pods of one StatefulSet are placed by rules that were read once.
func TestTheSameAnnotationIsReadOnce(t *testing.T) {
	annotation := []byte(`{"key":"k","values":["a","b","c"]}`)
	if n := testing.AllocsPerRun(100, func() { _, _ = Parse(annotation) }); n > 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
