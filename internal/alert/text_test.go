package alert

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

func TestRunsOfOrdinals(t *testing.T) {
	for name, c := range map[string]struct {
		ordinals []int32
		want     []run
	}{
		"none":                       {nil, nil},
		"one":                        {[]int32{7}, []run{{From: 7, To: 7}}},
		"three stay a list":          {[]int32{0, 2, 4}, []run{{From: 0, To: 0}, {From: 2, To: 2}, {From: 4, To: 4}}},
		"four make a range":          {[]int32{0, 2, 4, 6}, []run{{From: 0, To: 6, Step: 2}}},
		"neighbours":                 {[]int32{3, 4, 5, 6, 7}, []run{{From: 3, To: 7, Step: 1}}},
		"odd after an even":          {[]int32{0, 1, 3, 5, 7, 9}, []run{{From: 0, To: 0}, {From: 1, To: 9, Step: 2}}},
		"a gap splits":               {[]int32{0, 2, 4, 6, 10, 12, 14, 16}, []run{{From: 0, To: 6, Step: 2}, {From: 10, To: 16, Step: 2}}},
		"modulo three":               {[]int32{2, 5, 8, 11}, []run{{From: 2, To: 11, Step: 3}}},
		"the ends of the range":      {[]int32{0, 2147483647}, []run{{From: 0, To: 0}, {From: 2147483647, To: 2147483647}}},
		"a range up to the last one": {[]int32{2147483644, 2147483645, 2147483646, 2147483647}, []run{{From: 2147483644, To: 2147483647, Step: 1}}},
	} {
		if got := runs(c.ordinals); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// FuzzOrdinals writes a set of ordinals and reads it back with the reader of the
// stand-in, which shares no code with the writer.
func FuzzOrdinals(f *testing.F) {
	f.Add([]byte{0, 2, 4, 6, 7, 9}, true)
	f.Add([]byte{1, 1, 2, 3, 5, 8, 13}, false)
	f.Fuzz(func(t *testing.T, gaps []byte, english bool) {
		language := languageZh
		if english {
			language = languageEn
		}
		r := newRenderer(Options{Language: language, MessageType: typeMarkdown})
		q, now := newQueue(limits{lines: 10, ordinals: 100_000}), time.Now()
		ordinal, want := int32(0), map[string]string{}
		for i, gap := range gaps {
			if ordinal += int32(gap) << (8 * (i % 3)); ordinal < 0 {
				break
			}
			q.add(placed("web-01", ordinal, "node_1"), now)
			want[fmt.Sprintf("shop/web-01-%d", ordinal)] = "name=node_1"
		}
		got := map[string]string{}
		for q.events(placements) > 0 {
			b := q.pick(placements, now, false)
			body, err := r.message(&b, now)
			if err != nil {
				t.Fatal(err)
			}
			placed, err := dingtalktest.Placed(contentOf(t, body))
			if err != nil {
				t.Fatal(err)
			}
			maps.Copy(got, placed)
			q.delivered(b, now, true)
		}
		if !maps.Equal(got, want) || q.ordinals != 0 {
			t.Fatalf("read %v, want %v; %d ordinals left", got, want, q.ordinals)
		}
	})
}

func TestUntrustedTextIsEscaped(t *testing.T) {
	for name, c := range map[string]struct{ in, plain, markdown string }{
		"a usual name is untouched":   {"web-01.kubernetes.io/name", "web-01.kubernetes.io/name", "web-01.kubernetes.io/name"},
		"a label value is untouched":  {"node_1.a-b", "node_1.a-b", "node_1.a-b"},
		"nobody is called":            {"@all ＠all", "@\u200ball ＠\u200ball", "@\u200ball ＠\u200ball"},
		"lines stay one line":         {"a\nb\r\tc\u2028d", "a b  c d", "a b  c d"},
		"controls vanish":             {"a\x00\x1b[31mb\u202ec", "a[31mbc", "a［31mbc"},
		"an address is no link":       {"http://x", "http:\u200b//x", "http:\u200b//x"},
		"a link is no link":           {"[x](y)", "[x](y)", "［x］(y)"},
		"emphasis is none":            {"*a* ~c~ `d`", "*a* ~c~ `d`", "＊a＊ ～c～ ｀d｀"},
		"a heading is none":           {"# a", "# a", "＃ a"},
		"HTML is none":                {"<b>&#64;", "<b>&#64;", "＜b＞＆＃64;"},
		"a backslash cannot unescape": {`\*`, `\*`, "＼＊"},
		"bytes that are no text":      {"a\xffb", "a\uFFFDb", "a\uFFFDb"},
		"Chinese is untouched":        {"节点一", "节点一", "节点一"},
	} {
		if got := plain(c.in); got != c.plain {
			t.Errorf("%s: plain %q, want %q", name, got, c.plain)
		}
		if got := escapeMarkdown(c.in); got != c.markdown {
			t.Errorf("%s: markdown %q, want %q", name, got, c.markdown)
		}
	}
}

// FuzzEscape holds what must be true of any text, for a text that went through
// the whole way from an event to a message.
func FuzzEscape(f *testing.F) {
	for _, seed := range []string{"@all", "[a](http://b)", "\xff\x00", "＠x", "a\r\nb", "]\u200b(", "&lt;", strings.Repeat("长", 400)} {
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, text string, isMarkdown bool) {
		o := Options{Language: languageEn, MessageType: typeText}
		if isMarkdown {
			o.MessageType = typeMarkdown
		}
		r := newRenderer(o)
		for c, events := range [][2]Event{
			{{Kind: Certificate, Reason: text, Details: filled(text)}, {Kind: Certificate, Reason: WriteRefused, Details: filled(text)}},
			{{Kind: Denied, Reason: text, Namespace: "a", Details: filled(text)}, {Kind: Denied, Reason: AnnotationInvalid, Namespace: "a", Details: filled(text)}},
			{{Kind: Placed, Namespace: "a", StatefulSet: "a", Key: text, Value: text}, {Kind: Placed, Namespace: "b", StatefulSet: "b", Key: text}},
		} {
			content, harmless := both(t, r, category(c), events, false), both(t, r, category(c), events, true)
			checkContent(t, content, isMarkdown)
			if got, want := strings.Count(content, "\n"), strings.Count(harmless, "\n"); got != want {
				t.Fatalf("%d lines, want %d, in %q", got, want, content)
			}
		}
	})
}

// filled are details with the text everywhere.
func filled(text string) Details {
	return Details{Code: text, Field: text, Value: text, Object: text, Cause: text, Manager: text, CA: text, Text: text}
}

// both renders two events in one message, with their texts or with harmless ones.
func both(t *testing.T, r *renderer, c category, events [2]Event, harmless bool) string {
	t.Helper()
	q, now := newQueue(limits{lines: 10, ordinals: 10}), time.Unix(1_700_000_000, 0)
	for i, e := range events {
		if harmless {
			e.Details, e.Key, e.Value = filled("a"), "a", "a"
			if !isState(e.Reason) && e.Reason != AnnotationInvalid {
				e.Reason = fmt.Sprint("reason", i)
			}
		}
		q.add(e, now)
	}
	b := q.pick(c, now, false)
	body, err := r.message(&b, now)
	if err != nil {
		t.Fatal(err)
	}
	return contentOf(t, body)
}

func checkContent(t *testing.T, content string, isMarkdown bool) {
	t.Helper()
	runes := []rune(content)
	for i, r := range runes {
		next := rune(0)
		if i+1 < len(runes) {
			next = runes[i+1]
		}
		if (r == '@' || r == '＠') && next != '\u200b' {
			t.Fatalf("somebody is called in %q", content)
		}
		if r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Cf, r) && r != '\u200b' {
			t.Fatalf("rune %U in %q", r, content)
		}
	}
	if strings.Contains(content, "://") || isMarkdown && (strings.Contains(content, "](") || strings.Contains(content, "\\")) {
		t.Fatalf("a link or a backslash in %q", content)
	}
}

// contentOf returns the text of a body, which must be JSON within the bound.
func contentOf(t *testing.T, body []byte) string {
	t.Helper()
	var m message
	if err := json.Unmarshal(body, &m); err != nil || !utf8.Valid(body) || len(body) > maxBodyBytes {
		t.Fatalf("body of %d bytes: %v", len(body), err)
	}
	if m.Markdown != nil {
		return m.Markdown.Text
	}
	return m.Text.Content
}
