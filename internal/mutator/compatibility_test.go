package mutator

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata instead of comparing with it")

// TestOldFormIsAnsweredAsEver compares the answers to the rule of version 1
// ({"key", "even", "odd"}, right or wrong in every way) with those that version 1
// gave: testdata/compatibility.golden was recorded from it. Users wrote these
// annotations years ago; a difference is a bug, so -update is for new cases only.
func TestOldFormIsAnsweredAsEver(t *testing.T) {
	const golden = "testdata/compatibility.golden"
	var got strings.Builder
	for _, c := range compatibilityCases() {
		h := NewHandler(c.settings, nil, io.Discard, logr.Discard(), nil)
		fmt.Fprintf(&got, "# %s\n%s\n\n", c.name, plainAnswer(t, h, reviewOf(c.object)))
	}
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("answers differ from version 1 (-want +got):\n%s", diff)
	}
}

// plainAnswer is everything that the answer says: the patch, or the status.
func plainAnswer(t *testing.T, h *Handler, body string) string {
	t.Helper()
	answer := ask(t, h, body)
	if answer.Allowed {
		return string(answer.Patch)
	}
	status := answer.Result
	cause := status.Details.Causes[0]
	if cause.Message != status.Message || len(status.Details.Causes) != 1 {
		t.Errorf("got causes %+v, want one that repeats the message", status.Details.Causes)
	}
	return fmt.Sprintf("%d %s %s %s %s: %s", status.Code, status.Reason, status.Details.Name, cause.Type, cause.Field, status.Message)
}

type compatibilityCase struct {
	name, object string
	settings     Settings
}

func compatibilityCases() (cases []compatibilityCase) {
	add := func(object string, s Settings, format string, args ...any) {
		cases = append(cases, compatibilityCase{fmt.Sprintf(format, args...), object, s})
	}
	for _, text := range oldAnnotations() {
		add(podJSON(text, ""), Settings{}, "annotation %.200q of %d bytes", text, len(text))
	}
	for _, rule := range []string{webRule, slashRule, `{"key":"name","even":"","odd":""}`} {
		for _, selector := range []string{
			``, `null`, `{}`, `{"name":"node1"}`, `{"name":"node2"}`, `{"name":null}`, `{"disk":"ssd"}`, `{"disk":"ssd","name":"node2"}`,
			`{"example.com/zone":"a","n\u0061me":"x"}`, `{"name":"a","name":"b"}`, `[]`, `{"name":1}`,
		} {
			for _, replace := range []bool{false, true} {
				for _, pod := range []string{"web-0", "web-1", "web-2147483647"} {
					object := strings.Replace(podJSON(rule, selector), `"web-1"`, `"`+pod+`"`, 1)
					add(object, Settings{ReplaceExisting: replace}, "pod %s, rule %s, selector %s, replace %t", pod, rule, selector, replace)
				}
			}
		}
	}
	for _, change := range [][2]string{
		{`"name":"web-1"`, `"generateName":"web-"`}, {`"name":"web-1"`, `"name":"web-01"`}, {`"name":"web-1"`, `"name":"web-2147483648"`},
		{`"name":"web-1"`, `"name":"db-1"`}, {`"name":"web-1"`, `"name":"WEB"`}, {`"kind":"StatefulSet"`, `"kind":"Job"`}, {`"controller":true`, `"controller":false`},
		{`"custom-node-selector":`, `"other":`}, {`"spec":{`, `"notSpec":{`}, {`"labels":{`, `"labels":{"apps.kubernetes.io/pod-index":"3",`},
		{`"spec":{`, `"spec":{"affinity":1,"affinity":null,"tolerations":{},"tolerations":[0],`}, {`"spec":{`, `"spec":{"affinity":{"nodeAffinity":7},"tolerations":null,`},
	} {
		add(strings.Replace(podJSON(webRule, `{"a":"b"}`), change[0], change[1], 1), Settings{}, "%s in place of %s", change[1], change[0])
	}
	return cases
}

// oldAnnotations holds no word of the newer forms (values, ordinals, ...), and
// no array of rules.
func oldAnnotations() []string {
	long := func(n int) string { return strings.Repeat("v", n) }
	texts := []string{
		``, ` `, `null`, `true`, `17`, `"key"`, `[`, `[1,`, `{`, `{}`, `{]`, `{}x`, "\x00", `key=name`, `“key”`, `{“key”:1}`, `{"key"：1}`,
		webRule, slashRule, webRule + ` x`, webRule + webRule, "\r\n\t " + webRule + " \n", webRule + strings.Repeat(" ", 100<<10),
		`{"odd":"b","key":"k","even":"a"}`, `{"\u006bey":"\u006b","even":"\u0061","odd":"b"}`, `{"key":"k","even":"a","odd":"b","\u006fdd":"b"}`,
		`{"key":"k","even":"a"`, `{"key":"k","even"`, `{"key":"k`, `{'key':'k','even':'a','odd':'b'}`, `{"key":"k","even":"a","odd":"b",}`, `{"key":"k" "even":"a","odd":"b"}`,
		`{"key":"k","even":"a","odd":"b","third":[{}]}`, `{"key":"k","evn":"a","odd":"b"}`, `{"Key":"k","even":"a","odd":"b"}`, `{"key":"k","even":"a","odd":"b","":"b"}`,
		`{"key":"k","x":1,"key":2,"odd":3}`, `{"odd":1,"x":1}`, `{"even":"-","odd":"-"}`, `{"key":"","even":"-"}`, `{"key":"","even":"a","odd":"b"}`,
		`{"key":"k","` + long(300) + `":1}`, `{"key":"` + long(300) + `","even":"a","odd":"b"}`, `{"key":"k","even":"a","odd":"` + long(9999) + `"}`,
		`{"key":"` + long(63) + `","even":"` + long(63) + `","odd":"` + long(63) + `"}`, `{"key":"` + long(253) + `/` + long(63) + `","even":"a","odd":"b"}`,
		`{"key":"a.b/c","even":"A-b_c.9","odd":"9"}`, `{"key":"k","even":"a","odd":"b\n"}`, `{"key":"k","even":"\ud83d","odd":"b"}`, `{"key":"k","even":"café","odd":"b"}`,
		"{\"key\":\"k\xff\",\"even\":\"a\",\"odd\":\"b\"}",
	}
	for _, field := range []string{"key", "even", "odd"} {
		for _, value := range []string{
			`null`, `1`, `true`, `[]`, `{}`, `["a"]`, `""`, `"-a"`, `"a-"`, `"_"`, `"."`, `"a b"`, `"a/b"`, `"/b"`, `"a/"`, `"a/b/c"`, `"A.b/c"`, `"$(ordinal)"`, `"` + long(64) + `"`,
		} {
			rule := map[string]string{"key": `"k"`, "even": `"a"`, "odd": `"b"`}
			rule[field] = value
			texts = append(texts, fmt.Sprintf(`{"key":%s,"even":%s,"odd":%s}`, rule["key"], rule["even"], rule["odd"]))
		}
		texts = append(texts, strings.Replace(`{"key":"k","even":"a","odd":"b"}`, `"`+field+`"`, `"xx"`, 1), `{"`+field+`":"k"}`)
	}
	return texts
}
