package alert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

func TestSecretsPrintRedacted(t *testing.T) {
	const text = "SECRET-TEXT"
	s := newSecret(text)
	c, err := parseRobot("https://x.test/s?access_token="+text, false)
	if err != nil {
		t.Fatal(err)
	}
	c.secret = s
	type nested struct {
		hidden secret
		Shown  secret
		Map    map[string]secret
		Slice  []secret
	}
	holder := nested{hidden: s, Shown: s, Map: map[string]secret{"k": s}, Slice: []secret{s}}
	var prints []string
	for _, value := range []any{s, &s, holder, &holder, c, &c, []any{s}, fmt.Errorf("x: %v", s)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%p"} {
			prints = append(prints, fmt.Sprintf(verb, value))
		}
	}
	encoded, err := json.Marshal(map[string]any{"a": s, "b": holder, "c": c})
	if err != nil {
		t.Fatal(err)
	}
	prints = append(prints, string(encoded))
	var slogged bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&slogged, nil), slog.NewTextHandler(&slogged, nil)} {
		slog.New(handler).Info("m", "a", s, "b", holder, "c", c)
		logr.FromSlogHandler(handler).Info("m", "a", s, "b", holder, "c", c)
	}
	keep := func(line string) { slogged.WriteString(line) }
	funcr.NewJSON(keep, funcr.Options{}).Info("m", "a", s, "b", holder, "c", c)
	funcr.New(func(p, line string) { keep(p + line) }, funcr.Options{}).Info("m", "a", s, "b", holder)
	prints = append(prints, slogged.String(), s.String())
	for _, print := range prints {
		if strings.Contains(print, text) || strings.Contains(print, fmt.Sprintf("%x", text)) {
			t.Errorf("the secret stands in %q", print)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if got := fmt.Sprintf(verb, s); got != "<redacted>" {
			t.Errorf("%s prints %s, want <redacted>", verb, got)
		}
	}
	if got, err := json.Marshal(s); err != nil || string(got) != `"\u003credacted\u003e"` {
		t.Errorf("JSON is %s, %v, want <redacted>", got, err)
	}
	if s.reveal() != text || (secret{}).reveal() != "" {
		t.Error("reveal does not return the text")
	}
}

func TestURLErrorsAreUnwrapped(t *testing.T) {
	cause := errors.New("no such host")
	err := fmt.Errorf("outer: %w", &url.Error{Op: "Post", URL: "https://x.test/?access_token=TOKEN", Err: &url.Error{Op: "x", URL: "TOKEN", Err: cause}})
	if got := causeOf(err); got != "no such host" {
		t.Errorf("cause %q, want the innermost", got)
	}
}

func TestOptionsAreValidatedAllAtOnce(t *testing.T) {
	if err := (Options{}).Validate(); err != nil {
		t.Errorf("the zero value is refused: %v", err)
	}
	if err := (Options{}).withDefaults().Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
	wrong := Options{
		MessageType: "html", Language: "de", ClusterName: strings.Repeat("é", 65), AlertOn: []Kind{Denied, "deny"},
		AtMobiles: []string{"13800000000", "@138"}, AtUserIDs: append(slices.Repeat([]string{"u"}, 50), "a b"),
		Window: time.Millisecond, RepeatAfter: 25 * time.Hour, MaxLines: -1,
	}
	err := wrong.Validate()
	if err == nil {
		t.Fatal("everything wrong is accepted")
	}
	for _, want := range []string{
		"--dingtalk-message-type=html: must be markdown or text",
		"--alert-language=de: must be zh or en",
		"--cluster-name=" + strings.Repeat("é", 65) + ": must be at most 64 characters",
		"--alert-on=deny: must be one of [trust certificate clock denied placed lifecycle]",
		"--dingtalk-at-mobiles=@138: must be 5 to 20 digits",
		"--dingtalk-at-user-ids=(51 entries): must be at most 50 entries",
		"--dingtalk-at-user-ids=a b: must be 1 to 64 characters",
		"--alert-window=1ms: must be from 1s to 10m",
		"--alert-repeat-after=25h0m0s: must be from 1m to 24h",
		"-1 lines",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if got := len(strings.Split(err.Error(), "\n")); got != 10 {
		t.Errorf("%d mistakes, want 10:\n%v", got, err)
	}
	if _, err := New(wrong); err == nil {
		t.Error("New accepts what Validate refuses")
	}
}

func TestEverySeriesIsThereFromTheStart(t *testing.T) {
	registry := prometheus.NewRegistry()
	n, err := New(Options{Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	text := (&instance{Notifier: n, registry: registry}).exposition(t)
	want := []string{
		"sts_webhook_alert_sent_total 0", "sts_webhook_alert_dropped_total 0", "sts_webhook_alert_suppressed_total 0",
		"sts_webhook_alert_queue_length 0", "sts_webhook_alert_paused_until_timestamp_seconds 0",
		"sts_webhook_alert_last_success_timestamp_seconds 0",
	}
	for reason := range failures {
		want = append(want, fmt.Sprintf("sts_webhook_alert_failed_total{reason=%q} 0", reason))
	}
	for _, line := range want {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("missing %s", line)
		}
	}
	if got := strings.Count("\n"+text, "\nsts_webhook_alert_"); got != len(want) {
		t.Errorf("%d series, want %d:\n%s", got, len(want), text)
	}
	if _, err := New(Options{Registerer: registry}); err == nil {
		t.Error("registering twice returned no error")
	}
}

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

func TestHistoryForgetsAndStaysBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	h := newHistory(10*time.Minute, 100, 1000)
	for i := range int32(10_000) {
		h.record(keyOf(placed("web", 0, "node1")), []int32{i}, now)
		h.record(keyOf(denied(fmt.Sprint(i))), nil, now)
	}
	if len(h.lines) != 100+ownReserve || h.ordinals != 1000 {
		t.Errorf("%d lines and %d ordinals are remembered, want %d and 1000", len(h.lines), h.ordinals, 100+ownReserve)
	}
	h.forget(now.Add(10 * time.Minute))
	if len(h.lines) != 0 || h.ordinals != 0 {
		t.Errorf("%d lines and %d ordinals are remembered after the time, want none", len(h.lines), h.ordinals)
	}
}
