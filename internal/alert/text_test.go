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
		r, err := newRenderer(Options{Language: language, MessageType: typeMarkdown})
		if err != nil {
			t.Fatal(err)
		}
		l := newLedger(10, 100_000)
		ordinal, want := int32(0), map[string]string{}
		for i, gap := range gaps {
			if ordinal += int32(gap) << (8 * (i % 3)); ordinal < 0 {
				break
			}
			l.add(placed("web-01", ordinal, "node_1"), time.Now())
			want[fmt.Sprintf("shop/web-01-%d", ordinal)] = "name=node_1"
		}
		got := map[string]string{}
		for len(l.lines) > 0 {
			d, err := r.fit(l, maxBodyBytes, false)
			if err != nil {
				t.Fatal(err)
			}
			var m message
			if err := json.Unmarshal(d.body, &m); err != nil {
				t.Fatal(err)
			}
			placed, err := dingtalktest.Placed(m.Markdown.Text)
			if err != nil {
				t.Fatal(err)
			}
			maps.Copy(got, placed)
			for _, c := range d.choices {
				l.remove(c.key, c.ordinals)
			}
		}
		if !maps.Equal(got, want) || l.ordinals != 0 {
			t.Fatalf("read %v, want %v; %d ordinals left", got, want, l.ordinals)
		}
	})
}

func TestUntrustedTextIsEscaped(t *testing.T) {
	for name, c := range map[string]struct{ in, plain, markdown string }{
		"a usual name is untouched":   {"web-01.kubernetes.io/name", "web-01.kubernetes.io/name", "web-01.kubernetes.io/name"},
		"nobody is called":            {"@all ＠all", "@\u200ball ＠\u200ball", "@\u200ball ＠\u200ball"},
		"lines stay one line":         {"a\nb\r\tc\u2028d", "a b  c d", "a b  c d"},
		"controls vanish":             {"a\x00\x1b[31mb\u202ec", "a[31mbc", `a\[31mbc`},
		"an address is no link":       {"http://x", "http:\u200b//x", "http:\u200b//x"},
		"a link is no link":           {"[x](y)", "[x](y)", "\\[x\\]\u200b(y)"},
		"emphasis is none":            {"*a* _b_ ~c~ `d`", "*a* _b_ ~c~ `d`", "\\*a\\* \\_b\\_ \\~c\\~ \\`d\\`"},
		"HTML is none":                {"<b>&#64;", "<b>&#64;", "\\<b\\>\\&\u200b#64;"},
		"a backslash cannot unescape": {`\*`, `\*`, `\\\*`},
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
		r, err := newRenderer(o)
		if err != nil {
			t.Fatal(err)
		}
		l := newLedger(10, 10)
		l.add(Event{Kind: Denied, Reason: text, Namespace: text, StatefulSet: text, Message: text}, time.Now())
		l.add(Event{Kind: Placed, Reason: text, Namespace: text, StatefulSet: text, Key: text, Value: text}, time.Now())
		d, err := r.fit(l, maxBodyBytes, false)
		if err != nil {
			t.Fatal(err)
		}
		var m message
		if err := json.Unmarshal(d.body, &m); err != nil || !utf8.Valid(d.body) || len(d.body) > maxBodyBytes {
			t.Fatalf("body of %d bytes: %v", len(d.body), err)
		}
		content := ""
		if isMarkdown {
			content = m.Markdown.Text
		} else {
			content = m.Text.Content
		}
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
		if strings.Contains(content, "://") || isMarkdown && strings.Contains(content, "](") {
			t.Fatalf("a link in %q", content)
		}
		if got, want := strings.Count(content, "\n"), strings.Count(renderedShape(t, r), "\n"); got != want {
			t.Fatalf("%d lines, want %d, in %q", got, want, content)
		}
	})
}

// renderedShape renders the events of FuzzEscape with harmless texts.
func renderedShape(t *testing.T, r *renderer) string {
	l := newLedger(10, 10)
	l.add(Event{Kind: Denied, Reason: "a", Namespace: "a", StatefulSet: "a", Message: "a"}, time.Now())
	l.add(Event{Kind: Placed, Reason: "a", Namespace: "a", StatefulSet: "a", Key: "a", Value: "a"}, time.Now())
	d, err := r.fit(l, maxBodyBytes, false)
	if err != nil {
		t.Fatal(err)
	}
	var m message
	if err := json.Unmarshal(d.body, &m); err != nil {
		t.Fatal(err)
	}
	if m.Markdown != nil {
		return m.Markdown.Text
	}
	return m.Text.Content
}

func TestLongMessagesAreCutBetweenRunesAndSaySo(t *testing.T) {
	l := newLedger(10, 10)
	e := denied("web")
	e.Message = strings.Repeat("x", maxMessageBytes-1) + "节点"
	l.add(e, time.Now())
	for _, at := range l.lines {
		if at.message != strings.Repeat("x", maxMessageBytes-1) || at.cut != 6 {
			t.Errorf("kept %d bytes, cut %d, want %d and 6", len(at.message), at.cut, maxMessageBytes-1)
		}
	}
	r, err := newRenderer(Options{Language: languageEn, MessageType: typeText})
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.fit(l, maxBodyBytes, false)
	if err != nil || !strings.Contains(string(d.body), "(6 more bytes)") {
		t.Errorf("body %s, error %v, want the number of bytes cut", d.body, err)
	}
}
