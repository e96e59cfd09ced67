package rotator

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseRecord(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want record
	}{
		"as written":                       {encode(record{Format: 1, Generation: 7, Step: renew, Request: "q", Trusted: []string{"x"}}), record{1, 7, renew, "q", []string{"x"}}},
		"the largest generation":           {`{"format":1,"generation":4294967295}`, record{Format: 1, Generation: 1<<32 - 1}},
		"a field of a newer format":        {`{"format":2,"generation":7,"more":{}}`, record{Format: 2, Generation: 7}},
		"no record":                        {"", record{}},
		"junk":                             {"{", record{}},
		"another type":                     {`[1]`, record{}},
		"null":                             {`null`, record{}},
		"no format":                        {`{"generation":7}`, record{}},
		"a negative format":                {`{"format":-1,"generation":7}`, record{}},
		"a negative generation":            {`{"format":1,"generation":-7}`, record{}},
		"a generation that is too large":   {`{"format":1,"generation":4294967296}`, record{}},
		"a generation that is no number":   {`{"format":1,"generation":"7"}`, record{}},
		"a generation with a fraction":     {`{"format":1,"generation":7.5}`, record{}},
		"a request that is no text":        {`{"format":1,"generation":7,"request":7}`, record{}},
		"no generation: older than others": {`{"format":1}`, record{Format: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parseRecord(c.text); !reflect.DeepEqual(got, c.want) {
				t.Errorf("parseRecord(%q) = %+v, want %+v", c.text, got, c.want)
			}
		})
	}
}

func TestOfTwoGenerationsOneIsLater(t *testing.T) {
	for _, c := range []struct {
		a, b uint32
		want bool
	}{
		{1, 0, true}, {0, 1, false}, {0, 0, false}, {7, 7, false}, {8, 7, true}, {7, 8, false},
		{1 << 30, 1, true}, {1, 1 << 30, false}, {1<<32 - 1, 1, false}, {1, 1<<32 - 1, true}, {1<<32 - 1, 0, true}, {0, 1<<32 - 1, false},
	} {
		if got := (record{Generation: c.a}).laterThan(record{Generation: c.b}); got != c.want {
			t.Errorf("%d later than %d: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestParseRequest(t *testing.T) {
	for name, c := range map[string]struct {
		text, err string
		want      request
	}{
		"none":            {"", "", request{}},
		"rotate":          {`{"id":"q"}`, "", request{ID: "q"}},
		"distrust":        {`{"id":"q","distrust":true}`, "", request{"q", true}},
		"junk":            {"now please", "parse annotation " + requestAnnotation, request{}},
		"no id":           {`{"distrust":true}`, "it holds no id", request{}},
		"an empty id":     {`{"id":""}`, "it holds no id", request{}},
		"null":            {`null`, "it holds no id", request{}},
		"an id of 1":      {`{"id":1}`, "parse annotation " + requestAnnotation, request{}},
		"distrust of yes": {`{"id":"q","distrust":"yes"}`, "parse annotation " + requestAnnotation, request{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseRequest(c.text)
			if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("parseRequest(%q) = %+v, %v; want %+v, %q", c.text, got, err, c.want, c.err)
			}
		})
	}
}

func FuzzParseRecord(f *testing.F) {
	for _, seed := range []string{"", "{", `{"format":1,"generation":7,"trusted":["x"]}`, `{"format":1,"generation":-1}`, `{"format":99,"generation":4294967295}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := parseRecord(text)
		if r.Format < 1 && !reflect.DeepEqual(r, record{}) {
			t.Errorf("%q has no format and is read as %+v", text, r)
		}
		if again := parseRecord(encode(r)); r.Format >= 1 && encode(again) != encode(r) {
			t.Errorf("%+v does not survive being written: %+v", r, again)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	for _, seed := range []string{"", "{", `{"id":"q"}`, `{"id":"q","distrust":true}`, `{"id":null}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := parseRequest(text)
		if err == nil && q.ID == "" && (text != "" || q.Distrust) || err != nil && q != (request{}) {
			t.Errorf("%q is read as %+v, %v", text, q, err)
		}
	})
}
