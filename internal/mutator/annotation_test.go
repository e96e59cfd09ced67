package mutator

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
	kjson "sigs.k8s.io/json"
)

func TestRuleIsAccepted(t *testing.T) {
	long := strings.Repeat("v", 63)
	for sentence, c := range map[string]struct {
		text string
		want rule
	}{
		"as documented":             {webRule, rule{"name", "node1", "node2"}},
		"in another order":          {`{"odd":"b","key":"k","even":"a"}`, rule{"k", "a", "b"}},
		"with white space around":   {" \r\n\t{ \"key\" : \"k\" , \"even\" : \"a\" , \"odd\" : \"b\" } \n", rule{"k", "a", "b"}},
		"with escapes":              {`{"\u006bey":"\u006b","even":"\u0061","odd":"b"}`, rule{"k", "a", "b"}},
		"with a prefix in the key":  {`{"key":"topology.kubernetes.io/zone","even":"a","odd":"b"}`, rule{"topology.kubernetes.io/zone", "a", "b"}},
		"with equal values":         {`{"key":"k","even":"a","odd":"a"}`, rule{"k", "a", "a"}},
		"with an empty label value": {`{"key":"k","even":"","odd":"b"}`, rule{"k", "", "b"}},
		"with the longest value":    {`{"key":"k","even":"` + long + `","odd":"b"}`, rule{"k", long, "b"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			got, err := parseRule([]byte(c.text))
			if err != nil || got != c.want {
				t.Errorf("got %+v, error %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestWrongRuleIsRefusedByName(t *testing.T) {
	for sentence, c := range map[string]struct{ text, want string }{
		"key is missing":          {`{"even":"a","odd":"b"}`, `field "key" is missing`},
		"even is missing":         {`{"key":"k","odd":"b"}`, `field "even" is missing`},
		"odd is missing":          {`{"key":"k","even":"a"}`, `field "odd" is missing`},
		"nothing is there":        {`{}`, `field "key" is missing`},
		"key is empty":            {`{"key":"","even":"a","odd":"b"}`, `field "key" is empty`},
		"a field is misspelt":     {`{"key":"k","evn":"a","odd":"b"}`, `field "evn" is unknown`},
		"a field differs in case": {`{"Key":"k","even":"a","odd":"b"}`, `field "Key" is unknown`},
		"a field is too many":     {`{"key":"k","even":"a","odd":"b","third":[{}]}`, `field "third" is unknown`},
		"a field occurs twice":    {`{"key":"k","even":"a","odd":"b","odd":"b"}`, `field "odd" occurs twice`},
		"a field occurs escaped":  {`{"key":"k","even":"a","odd":"b","\u006fdd":"b"}`, `field "odd" occurs twice`},
		"key is null":             {`{"key":null,"even":"a","odd":"b"}`, `field "key" is not a string`},
		"even is a number":        {`{"key":"k","even":1,"odd":"b"}`, `field "even" is not a string`},
		"odd is a list":           {`{"key":"k","even":"a","odd":["b"]}`, `field "odd" is not a string`},
		"odd is a boolean":        {`{"key":"k","even":"a","odd":true}`, `field "odd" is not a string`},
		"it is null":              {`null`, `it is not a JSON object`},
		"it is a list":            {`[{"key":"k","even":"a","odd":"b"}]`, `it is not a JSON object`},
		"it is a string":          {`"key"`, `it is not a JSON object`},
		"key has a space":         {`{"key":"a b","even":"a","odd":"b"}`, `field "key" holds "a b": name part must consist of alphanumeric`},
		"key has two slashes":     {`{"key":"a/b/c","even":"a","odd":"b"}`, `field "key" holds "a/b/c": a valid label key must consist of`},
		"key has an empty prefix": {`{"key":"/b","even":"a","odd":"b"}`, `field "key" holds "/b": prefix part must be non-empty`},
		"even is no label value":  {`{"key":"k","even":"-a","odd":"b"}`, `field "even" holds "-a": a valid label must be an empty string or consist of`},
		"odd is no label value":   {`{"key":"k","even":"a","odd":"b c"}`, `field "odd" holds "b c": a valid label must be an empty string or consist of`},
		"odd is too long":         {`{"key":"k","even":"a","odd":"` + strings.Repeat("b", 64) + `"}`, `field "odd" holds "` + strings.Repeat("b", 64) + `": must be no more than 63 bytes`},
		"odd is far too long":     {`{"key":"k","even":"a","odd":"` + strings.Repeat("b", 9999) + `"}`, `field "odd" holds "` + strings.Repeat("b", 80) + `…": must be no more than 63 bytes`},
		"odd has a line break":    {`{"key":"k","even":"a","odd":"b\n"}`, `field "odd" holds "b\n": a valid label must be`},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := parseRule([]byte(c.text))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Fatalf("got error %v, want %s...", err, c.want)
			}
			if errors.Is(err, errNotJSON) {
				t.Errorf("error %v says that this is no JSON", err)
			}
		})
	}
}

func TestAnnotationThatIsNoJSONIsRefusedWithThePlace(t *testing.T) {
	for sentence, c := range map[string]struct{ text, want string }{
		"it is empty":             {``, `at byte 0: expected a value: unexpected EOF`},
		"it is words":             {`name=node1`, `at byte 0: expected a value, found 'n'`},
		"it ends early":           {`{"key":"k","even"`, `at byte 17: expected a colon: unexpected EOF`},
		"a string does not end":   {`{"key":"k`, `at byte 9: expected the end of a string: unexpected EOF`},
		"single quotes":           {`{'key':'k','even':'a','odd':'b'}`, `at byte 1: expected a string, found '\''`},
		"a comma too many":        {`{"key":"k","even":"a","odd":"b",}`, `at byte 32: expected a string, found '}'`},
		"a comma too few":         {`{"key":"k" "even":"a","odd":"b"}`, `at byte 11: expected a comma or the end of the object, found '"'`},
		"something after the end": {webRule + ` x`, `at byte 49: expected the end of the text, found 'x'`},
		"a second rule":           {webRule + webRule, `at byte 48: expected the end of the text, found '{'`},
		"a list after the end":    {`[]]`, `at byte 2: expected the end of the text, found ']'`},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := parseRule([]byte(c.text))
			want := "it is not valid JSON: read JSON " + c.want
			if err == nil || err.Error() != want {
				t.Fatalf("got error %v, want %s", err, want)
			}
			if !errors.Is(err, errNotJSON) {
				t.Errorf("error %v does not say that this is no JSON", err)
			}
		})
	}
}

func TestAnnotationErrorsBecomeDenials(t *testing.T) {
	const remedy = `; write {"key": "<node label>", "even": "<value for even ordinals>", "odd": "<value for odd ordinals>"}` +
		` in the StatefulSet's pod template`
	for sentence, c := range map[string]struct{ text, reason, problem string }{
		"no JSON is malformed":       {`{`, "annotation_malformed", `it is not valid JSON: read JSON at byte 1: expected a string: unexpected EOF`},
		"wrong content is invalid":   {`{"key":"k"}`, "annotation_invalid", `field "even" is missing`},
		"an empty text is malformed": {``, "annotation_malformed", `it is not valid JSON: read JSON at byte 0: expected a value: unexpected EOF`},
	} {
		t.Run(sentence, func(t *testing.T) {
			p := podOf("web", "web-1")
			p.annotation = []byte(c.text)
			compareDecisions(t, decision{outcome: denied, statefulSet: "web", denial: &denial{
				reason: c.reason, field: "metadata.annotations[custom-node-selector]", cause: "FieldValueInvalid",
				message: "annotation custom-node-selector: " + c.problem + remedy,
			}}, decide(creationOf(p), Settings{}))
		})
	}
}

// FuzzParseRule compares the parser with the API server's strict decoder and
// apimachinery's validation.
func FuzzParseRule(f *testing.F) {
	for _, seed := range []string{
		webRule, `{"key":"k","even":"a","odd":"b"} `, `{"key":"k","even":"a","odd":"b"}x`, `{"key":"k","even":"a","odd":"b","odd":"b"}`,
		`{"Key":"k","even":"a","odd":"b"}`, `{"key":null,"even":"a","odd":"b"}`, `{"key":"\u006b","even":"\ud83d","odd":"b"}`,
		`{"k\u0065y":"k","even":"a","odd":"b"}`, `{"key":"k","even":"a","odd":"b","x":{"odd":[1,{}]}}`, "{\"key\":\"\xff\"}",
		``, `null`, `[]`, `{}`, `{"key":1,"even":{},"odd":[]}`, `{"key":"a/b","even":"","odd":""}`, strings.Repeat(`[`, 3*10_000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var typed struct {
			Key  *string `json:"key"`
			Even *string `json:"even"`
			Odd  *string `json:"odd"`
		}
		strict, err := kjson.UnmarshalStrict(text, &typed)
		complete := err == nil && len(strict) == 0 && typed.Key != nil && typed.Even != nil && typed.Odd != nil
		want := rule{}
		if complete && labelsAreValid(*typed.Key, *typed.Even, *typed.Odd) {
			want = rule{*typed.Key, *typed.Even, *typed.Odd}
		}
		got, err := parseRule(text)
		if got != want || (err == nil) != (want != rule{}) {
			t.Errorf("got %+v, error %v, want %+v: %q", got, err, want, text)
		}
		if syntaxError, _ := kjson.SyntaxErrorOffset(kjson.UnmarshalCaseSensitivePreserveInts(text, new(any))); errors.Is(err, errNotJSON) && !syntaxError {
			t.Errorf("error %v calls JSON malformed: %q", err, text)
		}
	})
}

func labelsAreValid(key string, values ...string) bool {
	for _, value := range values {
		if len(validation.IsValidLabelValue(value)) > 0 {
			return false
		}
	}
	return len(validation.IsQualifiedName(key)) == 0
}

// P6: the commonest slip on a Chinese keyboard.
func TestFullWidthPunctuationIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		`{“key”: "name"}`:           "expected a string, found '“', which is full-width: type \" instead",
		`{"key"："name"}`:            "expected a colon, found '：', which is full-width: type : instead",
		`{"key":"name"，"even":"a"}`: "expected a comma or the end of the object, found '，', which is full-width: type , instead",
		`｛"key":"name"}`:            "expected a value, found '｛', which is full-width: type { instead",
		"{\u3000\"key\":\"name\"}":  "found '\\u3000', which is full-width: type a space instead",
		`{"key":名}`:                 "expected a value, found '名'",
		"{\xff}":                    "expected a string, found the byte 0xff, which is no UTF-8",
		"{\"key\":\"name\"}\u00a0":  "expected the end of the text, found '\\u00a0'",
		"{\"key\":\"a\x01\"}":       "found '\\x01'",
	} {
		_, err := parseRule([]byte(text))
		if !errors.Is(err, errNotJSON) && !strings.Contains(text, "名") || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
