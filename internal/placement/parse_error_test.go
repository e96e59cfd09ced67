package placement

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrongRuleIsRefusedByFieldValueAndFix(t *testing.T) {
	const forms = `; a rule has "even" and "odd", or "values", or "ordinals" and perhaps "default", or "value" and perhaps "start"`
	const label = `: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an ` +
		`alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`
	for sentence, c := range map[string]struct {
		text    string
		field   string
		problem string
		form    form
	}{
		"key is missing":                               {`{"even":"a","odd":"b"}`, `key`, `is missing`, byParity},
		"even is missing":                              {`{"key":"k","odd":"b"}`, `even`, `is missing`, byParity},
		"odd is missing":                               {`{"key":"k","even":"a"}`, `odd`, `is missing`, byParity},
		"nothing is there":                             {`{}`, `key`, `is missing`, byParity},
		"only a key is there":                          {`{"key":"k"}`, `even`, `is missing`, byParity},
		"key is empty":                                 {`{"key":"","even":"a","odd":"b"}`, `key`, `is empty`, byParity},
		"a field is misspelt":                          {`{"key":"k","evn":"a","odd":"b"}`, `evn`, `is unknown`, byParity},
		"a field differs in case":                      {`{"key":"k","Values":["a"]}`, `Values`, `is unknown`, byParity},
		"a field is too many":                          {`{"key":"k","values":["a"],"third":[{}]}`, `third`, `is unknown`, byValues},
		"odd occurs twice":                             {`{"key":"k","even":"a","odd":"b","odd":"b"}`, `odd`, `occurs twice`, byParity},
		"odd occurs escaped":                           {`{"key":"k","even":"a","odd":"b","\u006fdd":"b"}`, `odd`, `occurs twice`, byParity},
		"values occurs twice":                          {`{"key":"k","values":["a"],"values":["a"]}`, `values`, `occurs twice`, byValues},
		"ordinals occurs twice":                        {`{"key":"k","ordinals":{"0":"a"},"ordinals":{"1":"a"}}`, `ordinals`, `occurs twice`, byOrdinals},
		"start occurs twice":                           {`{"key":"k","value":"$(ordinal)","start":1,"start":1}`, `start`, `occurs twice`, byTemplate},
		"tolerate occurs twice":                        {`{"key":"k","values":["a"],"tolerate":"NoSchedule","tolerate":"NoSchedule"}`, `tolerate`, `occurs twice`, byValues},
		"key is null":                                  {`{"key":null,"even":"a","odd":"b"}`, `key`, `is not a string`, byParity},
		"odd is a list":                                {`{"key":"k","even":"a","odd":["b"]}`, `odd`, `is not a string`, byParity},
		"values is a string":                           {`{"key":"k","values":"a"}`, `values`, `is not an array of strings`, byValues},
		"values is null":                               {`{"key":"k","values":null}`, `values`, `is not an array of strings`, byValues},
		"values is empty":                              {`{"key":"k","values":[]}`, `values`, `holds no value`, byValues},
		"a value is a number":                          {`{"key":"k","values":["a","b",3]}`, `values[2]`, `is not a string`, byValues},
		"a value is null":                              {`{"key":"k","values":[null]}`, `values[0]`, `is not a string`, byValues},
		"a value is no label":                          {`{"key":"k","values":["a","b","b c"]}`, `values[2]`, `holds "b c"` + label, byValues},
		"ordinals is a list":                           {`{"key":"k","ordinals":["a"]}`, `ordinals`, `is not an object from index sets to strings`, byOrdinals},
		"ordinals is empty":                            {`{"key":"k","ordinals":{}}`, `ordinals`, `holds no index set`, byOrdinals},
		"ordinals is empty, though there is a default": {`{"key":"k","ordinals":{},"default":"a"}`, `ordinals`, `holds no index set`, byOrdinals},
		"default stands alone":                         {`{"key":"k","default":"a"}`, `ordinals`, `is missing`, byOrdinals},
		"default is a number":                          {`{"key":"k","ordinals":{"0":"a"},"default":1}`, `default`, `is not a string`, byOrdinals},
		"default is no label":                          {`{"key":"k","ordinals":{"0":"a"},"default":"-"}`, `default`, `holds "-"` + label, byOrdinals},
		"an ordinal's value is a number":               {`{"key":"k","ordinals":{"1-2,5":7}}`, `ordinals[1-2,5]`, `is not a string`, byOrdinals},
		"an ordinal's value is no label":               {`{"key":"k","ordinals":{"0":"a","1-2,5":"-"}}`, `ordinals[1-2,5]`, `holds "-"` + label, byOrdinals},
		"an index set is empty":                        {`{"key":"k","ordinals":{"":"a"}}`, `ordinals[]`, `is no index set: "" is not a decimal number; write numbers and ranges, such as 1-2,5`, byOrdinals},
		"an index set has a space":                     {`{"key":"k","ordinals":{"1, 2":"a"}}`, `ordinals[1, 2]`, `is no index set: " 2" is not a decimal number; write numbers and ranges, such as 1-2,5`, byOrdinals},
		"an index set ends in a comma":                 {`{"key":"k","ordinals":{"1,":"a"}}`, `ordinals[1,]`, `is no index set: "" is not a decimal number; write numbers and ranges, such as 1-2,5`, byOrdinals},
		"a range has no end":                           {`{"key":"k","ordinals":{"3-":"a"}}`, `ordinals[3-]`, `is no index set: "" is not a decimal number; write numbers and ranges, such as 1-2,5`, byOrdinals},
		"a range has two ends":                         {`{"key":"k","ordinals":{"1-2-3":"a"}}`, `ordinals[1-2-3]`, `is no index set: "2-3" is not a decimal number; write numbers and ranges, such as 1-2,5`, byOrdinals},
		"a range runs backwards":                       {`{"key":"k","ordinals":{"3-1":"a"}}`, `ordinals[3-1]`, `is no index set: the range 3-1 runs backwards; write numbers and ranges, such as 1-2,5`, byOrdinals},
		"an ordinal has a leading zero":                {`{"key":"k","ordinals":{"01":"a"}}`, `ordinals[01]`, `is no index set: "01" has a leading zero; write numbers and ranges, such as 1-2,5`, byOrdinals},
		"an ordinal is too large":                      {`{"key":"k","ordinals":{"0-2147483648":"a"}}`, `ordinals[0-2147483648]`, `is no index set: "2147483648" is above 2147483647; write numbers and ranges, such as 1-2,5`, byOrdinals},
		"index sets overlap":                           {`{"key":"k","ordinals":{"4":"a","1-5":"b"}}`, `ordinals[4]`, `has ordinal 4 in common with "ordinals[1-5]"; give each ordinal one value`, byOrdinals},
		"an index set overlaps itself":                 {`{"key":"k","ordinals":{"1-3,2":"a"}}`, `ordinals[1-3,2]`, `has ordinal 2 in common with "ordinals[1-3,2]"; give each ordinal one value`, byOrdinals},
		"an index set occurs twice":                    {`{"key":"k","ordinals":{"0":"a","0":"a"}}`, `ordinals[0]`, `has ordinal 0 in common with "ordinals[0]"; give each ordinal one value`, byOrdinals},
		"value lacks the ordinal":                      {`{"key":"k","value":"deb"}`, `value`, `holds "deb", which lacks $(ordinal): every pod would go to the same nodes; add it, or use "values"`, byTemplate},
		"value is empty":                               {`{"key":"k","value":""}`, `value`, `holds "", which lacks $(ordinal): every pod would go to the same nodes; add it, or use "values"`, byTemplate},
		"value escapes the ordinal":                    {`{"key":"k","value":"$$(ordinal)"}`, `value`, `holds "$$(ordinal)": only $(ordinal) is replaced, and a label value cannot hold another "$"`, byTemplate},
		"value names another variable":                 {`{"key":"k","value":"$(ordinal)-$(POD)"}`, `value`, `holds "$(ordinal)-$(POD)": only $(ordinal) is replaced, and a label value cannot hold another "$"`, byTemplate},
		"value would grow too long": {`{"key":"k","value":"` + strings.Repeat("v", 54) + `$(ordinal)"}`, `value`, `holds "` + strings.Repeat("v", 54) + `$(ordinal)", which gives "` +
			strings.Repeat("v", 54) + `2147483647" for the largest ordinal: must be no more than 63 bytes`, byTemplate},
		"value gives no label":    {`{"key":"k","value":"-$(ordinal)"}`, `value`, `holds "-$(ordinal)", which gives "-2147483647" for the largest ordinal` + label, byTemplate},
		"start stands alone":      {`{"key":"k","start":1}`, `value`, `is missing`, byTemplate},
		"start is a string":       {`{"key":"k","value":"$(ordinal)","start":"1"}`, `start`, `holds "\"1\"": it must be a whole number from 0 to 2147483647`, byTemplate},
		"start is negative":       {`{"key":"k","value":"$(ordinal)","start":-1}`, `start`, `holds "-1": it must be a whole number from 0 to 2147483647`, byTemplate},
		"start has a fraction":    {`{"key":"k","value":"$(ordinal)","start":1.0}`, `start`, `holds "1.0": it must be a whole number from 0 to 2147483647`, byTemplate},
		"start is too large":      {`{"key":"k","value":"$(ordinal)","start":2147483648}`, `start`, `holds "2147483648": it must be a whole number from 0 to 2147483647`, byTemplate},
		"values beside parity":    {`{"key":"k","even":"a","values":["a"]}`, `values`, `does not go with "even"` + forms, byParity},
		"ordinals beside values":  {`{"key":"k","ordinals":{"0":"a"},"values":["a"]}`, `ordinals`, `does not go with "values"` + forms, byValues},
		"value beside ordinals":   {`{"key":"k","ordinals":{"0":"a"},"value":"$(ordinal)"}`, `value`, `does not go with "ordinals"` + forms, byOrdinals},
		"start beside values":     {`{"key":"k","values":["a"],"start":1}`, `start`, `does not go with "values"` + forms, byValues},
		"default beside odd":      {`{"key":"k","odd":"b","default":"a"}`, `default`, `does not go with "odd"` + forms, byParity},
		"default beside value":    {`{"key":"k","value":"$(ordinal)","default":"a"}`, `value`, `does not go with "default"` + forms, byOrdinals},
		"no form beside tolerate": {`{"key":"k","tolerate":"NoSchedule"}`, `key`, `has no values: give "even" and "odd", or "values", or "ordinals", or "value"`, byParity},
		"whenUnsatisfiable is misspelt": {`{"key":"k","values":["a"],"whenUnsatisfiable":"scheduleAnyway"}`, `whenUnsatisfiable`,
			`holds "scheduleAnyway": it must be DoNotSchedule or ScheduleAnyway, or be left out`, byValues},
		"whenUnsatisfiable is null":      {`{"key":"k","values":["a"],"whenUnsatisfiable":null}`, `whenUnsatisfiable`, `is not a string`, byValues},
		"another effect is tolerated":    {`{"key":"k","values":["a"],"tolerate":"NoExecute"}`, `tolerate`, `holds "NoExecute": it must be NoSchedule, or be left out`, byValues},
		"tolerate is a boolean":          {`{"key":"k","values":["a"],"tolerate":true}`, `tolerate`, `is not a string`, byValues},
		"a rule in an array is wrong":    {`[{"key":"k","values":["a"]},{"key":"j","values":["a","b","-"]}]`, `[1].values[2]`, `holds "-"` + label, byValues},
		"an array holds a number":        {`[{"key":"k","values":["a"]},17]`, `[1]`, `is not a JSON object`, byParity},
		"an array holds an array":        {`[[{"key":"k","values":["a"]}]]`, `[0]`, `is not a JSON object`, byParity},
		"a rule in an array is formless": {`[{"key":"k"}]`, `[0].key`, `has no values: give "even" and "odd", or "values", or "ordinals", or "value"`, byParity},
		"a key occurs in two rules":      {`[{"key":"k","values":["a"]},{"key":"j","values":["a"]},{"key":"k","value":"$(ordinal)"}]`, `[2].key`, `holds "k", as "[0].key" does; write one rule for each node label`, byTemplate},
		"the first of two is reported":   {`[{"key":"-","values":["a"]},{"key":"k","values":"a"}]`, `[0].key`, `holds "-": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`, byValues},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := Parse([]byte(c.text))
			fault, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("got error %v", err)
			}
			// Code and Value have a test of their own.
			want := &Error{Code: fault.Code, Value: fault.Value, Field: c.field, Problem: `field "` + c.field + `" ` + c.problem, Form: c.form.String(), Example: examples[c.form]}
			if diff := cmp.Diff(error(want), err); diff != "" {
				t.Errorf("errors differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnnotationThatIsNoRuleIsRefusedAsAWhole(t *testing.T) {
	for text, want := range map[string]string{
		`null`: `it is not a JSON object`, `"key"`: `it is not a JSON object`, `7`: `it is not a JSON object`, `[]`: `the array holds no rule`,
	} {
		_, err := Parse([]byte(text))
		if diff := cmp.Diff(error(&Error{Code: map[bool]string{true: CodeNoRule, false: CodeNotObject}[text == "[]"], Problem: want, Example: Example}), err); diff != "" {
			t.Errorf("%s: errors differ (-want +got):\n%s", text, diff)
		}
	}
}

func TestAnnotationThatIsNoJSONIsRefusedWithThePlace(t *testing.T) {
	const webRule = `{"key": "name", "even": "node1", "odd": "node2"}`
	for text, want := range map[string]string{
		``:                                  `at byte 0: expected a value: unexpected EOF`,
		`name=node1`:                        `at byte 0: expected a value, found 'n'`,
		`{"key":"k","even"`:                 `at byte 17: expected a colon: unexpected EOF`,
		`{"key":"k`:                         `at byte 9: expected the end of a string: unexpected EOF`,
		`{'key':'k'}`:                       `at byte 1: expected a string, found '\''`,
		`{"key":"k","even":"a","odd":"b",}`: `at byte 32: expected a string, found '}'`,
		`{"key":"k" "even":"a","odd":"b"}`:  `at byte 11: expected a comma or the end of the object, found '"'`,
		`{"key":"k","values":["a" "b"]}`:    `at byte 25: expected a comma or the end of the array, found '"'`,
		`{"key":"","values":[1,]}`:          `at byte 22: expected a value, found ']'`,
		`[{"key":"k","values":["a"]}`:       `at byte 27: expected a comma or the end of the array: unexpected EOF`,
		webRule + ` x`:                      `at byte 49: expected the end of the text, found 'x'`,
		webRule + webRule:                   `at byte 48: expected the end of the text, found '{'`,
		`[]]`:                               `at byte 2: expected the end of the text, found ']'`,
		// The commonest slips on a Chinese keyboard.
		`{“key”: "name"}`:           "at byte 1: expected a string, found '“', which is full-width: type \" instead",
		`{"key"："name"}`:            "at byte 6: expected a colon, found '：', which is full-width: type : instead",
		`{"key":"name"，"even":"a"}`: "at byte 13: expected a comma or the end of the object, found '，', which is full-width: type , instead",
		`｛"key":"name"}`:            "at byte 0: expected a value, found '｛', which is full-width: type { instead",
		"{\u3000\"key\":\"name\"}":  "at byte 1: expected a string, found '\\u3000', which is full-width: type a space instead",
		`{"x":名}`:                   "at byte 5: expected a value, found '名'",
		"{\xff}":                    "at byte 1: expected a string, found the byte 0xff, which is no UTF-8",
		"{\"key\":\"name\"}\u00a0":  "at byte 14: expected the end of the text, found '\\u00a0'",
		"{\"key\":\"a\x01\"}":       "at byte 9: expected no control character in a string, found '\\x01'",
	} {
		_, err := Parse([]byte(text))
		var position string // as in the message
		_, _ = fmt.Sscanf(want, "at byte %s", &position)
		if diff := cmp.Diff(error(&Error{Value: strings.TrimSuffix(position, ":"), Problem: "it is not valid JSON: read JSON " + want, Example: Example, NotJSON: true}), err); diff != "" {
			t.Errorf("%s: errors differ (-want +got):\n%s", text, diff)
		}
	}
}

// Whoever tells a mistake in another language has these parts.
func TestErrorsHaveACodeAndAValue(t *testing.T) {
	got := map[string]string{}
	for text, want := range map[string]string{
		`7`:                             `NotObject "" ""`,
		`[]`:                            `NoRule "" ""`,
		rulesOf(MaxRules + 1):           `TooLarge "" "16"`,
		strings.Repeat(" ", MaxBytes+1): `TooLarge "" "262144"`,
		`[7]`:                           `NotObject "[0]" ""`,
		`{"x":1}`:                       `FieldUnknown "x" ""`,
		`{"key":"k"}`:                   `FieldMissing "even" ""`,
		`{"key":"k","key":"k"}`:         `FieldRepeated "key" ""`,
		`{"key":7}`:                     `FieldNotString "key" ""`,
		`{"key":"k","values":7}`:        `FieldWrongType "values" ""`,
		`{"key":"k","values":[]}`:       `FieldEmpty "values" ""`,
		`{"key":"","values":["a"]}`:     `FieldEmpty "key" ""`,
		`{"key":"k","values":["a b"]}`:  `FieldInvalid "values[0]" "a b"`,
		`{"key":"k","values":["a"],"tolerate":"x"}`:               `FieldInvalid "tolerate" "x"`,
		`{"key":"k","ordinals":{"0x1":"a"}}`:                      `FieldInvalid "ordinals[0x1]" "0x1"`,
		`{"key":"k","value":"v"}`:                                 `FieldInvalid "value" "v"`,
		`{"key":"k","value":"$(ordinal)","start":"1"}`:            `FieldInvalid "start" "\"1\""`,
		`{"key":"k","values":["a"],"default":"a"}`:                `FieldConflict "default" "values"`,
		`[{"key":"k","values":["a"]},{"key":"k","values":["b"]}]`: `KeyRepeated "[1].key" "k"`,
		`{"key":"k","ordinals":{"1":"a","0-1":"a"}}`:              `Overlap "ordinals[1]" "ordinals[0-1]"`,
		`{"key":"k","ordinals":{"1":"a"}}`:                        `NoValue "ordinals" "2147483647"`,
		`[{"key":"k","value":"$(ordinal)","start":1}]`:            `NoValue "[0].start" "2147483647"`,
	} {
		rules, err := Parse([]byte(text))
		if err == nil {
			_, err = rules.Assign(nil, MaxOrdinal)
		}
		fault, _ := errors.AsType[*Error](err)
		if fault == nil || fmt.Sprintf("%s %q %q", fault.Code, fault.Field, fault.Value) != want || fault.Example == "" {
			t.Errorf("%.80s: got %+v, want %s", text, fault, want)
			continue
		}
		got[fault.Code] = text
	}
	for _, code := range Codes() {
		if got[code] == "" {
			t.Errorf("no case for the code %s", code)
		}
	}
}

// A denial repeats an error: it must not grow with what a user wrote.
func TestErrorsAreBounded(t *testing.T) {
	long := strings.Repeat("é", 20_000)
	for _, text := range []string{
		`{"` + long + `":1}`, `{"key":"` + long + `","values":["a"]}`, `{"key":"k","values":["` + long + `"]}`, `{"key":"k","ordinals":{"` + long + `":"a"}}`,
		`{"key":"k","ordinals":{"9-1` + strings.Repeat(",1", 20_000) + `":"a"}}`, `{"key":"k","value":"$(ordinal)` + long + `"}`,
		`{"key":"k","values":["a"],"tolerate":"` + long + `"}`, `{"key":"k","value":"$(ordinal)","start":` + strings.Repeat("1", 20_000) + `}`,
		`{"key":"k","ordinals":{"1` + strings.Repeat(",1", 300) + `":"a"}}`, `{"key":"k","ordinals":{"` + strings.Repeat("1", 20_000) + `-1":"a"}}`,
	} {
		_, err := Parse([]byte(text))
		fault, ok := errors.AsType[*Error](err)
		if !ok || len(fault.Problem) > 1000 || len(fault.Field) > maxPart || len(fault.Value) > maxPart {
			t.Errorf("%.50s: got error %v", text, err)
		}
	}
}
