package alert

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite docs/alerts-gallery.md")

const galleryFile = "../../docs/alerts-gallery.md"

func galleryOptions(language, messageType string) Options {
	return Options{
		Language: language, MessageType: messageType, ClusterName: "prod", Replica: "sts-webhook-7d9f-abcde", Timezone: "Asia/Shanghai",
		AtMobiles: []string{"13800000000"}, AtUserIDs: []string{"manager01"},
	}
}

// tellScene returns the message of the scene.
func tellScene(t *testing.T, s scene, o Options) message {
	t.Helper()
	at := &story{q: newQueue(limits{lines: 100, ordinals: 1000, repeatAfter: 10 * time.Minute}), now: time.Date(2026, 3, 1, 10, 0, 2, 0, time.UTC)}
	s.happens(at)
	b := at.q.pick(s.category, at.now, true)
	b.follow, b.lost = b.lost, 0
	body, err := newRenderer(o).message(&b, at.now)
	if err != nil {
		t.Fatal(err)
	}
	if got := lines(t, body); got > 20 {
		t.Errorf("%s: %d lines, want at most 20", s.title, got)
	}
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestGalleryShowsEveryMessage holds docs/alerts-gallery.md, on which a person can read
// every kind of message in both languages at once: go test ./internal/alert -run Gallery -update writes it.
func TestGalleryShowsEveryMessage(t *testing.T) {
	var page strings.Builder
	page.WriteString("# Every alert, in both languages\n\nWritten by a test from the program's own texts; a difference fails it.\n" +
		"`go test ./internal/alert -run Gallery -update` writes the page anew.\n")
	show := func(m message) {
		quoted := ""
		for line := range strings.Lines(m.Markdown.Text) {
			quoted += strings.TrimRight("> "+line, " \n") + "\n"
		}
		page.WriteString("\n" + quoted)
	}
	for _, s := range scenes() {
		page.WriteString("\n## " + s.title + "\n")
		for _, language := range []string{languageZh, languageEn} {
			show(tellScene(t, s, galleryOptions(language, typeMarkdown)))
		}
	}
	page.WriteString("\n## alert-test\n")
	for _, language := range []string{languageZh, languageEn} {
		for _, signed := range []bool{true, false} {
			body, err := newRenderer(galleryOptions(language, typeMarkdown)).test(signed, time.Date(2026, 3, 1, 10, 0, 2, 0, time.UTC))
			if err != nil {
				t.Fatal(err)
			}
			var m message
			if err := json.Unmarshal(body, &m); err != nil {
				t.Fatal(err)
			}
			show(m)
		}
	}
	page.WriteString("\n## As text\n\nWith `--dingtalk-message-type=text`:\n\n```\n" +
		tellScene(t, scenes()[0], galleryOptions(languageZh, typeText)).Text.Content + "\n\n" +
		tellScene(t, scenes()[0], galleryOptions(languageEn, typeText)).Text.Content + "\n```\n")
	if *update {
		if err := os.WriteFile(galleryFile, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(galleryFile)
	if err != nil {
		t.Fatal(err)
	}
	if page.String() != string(want) {
		t.Errorf("docs/alerts-gallery.md differs: go test ./internal/alert -run Gallery -update writes it")
	}
}

// Chinese messages are Chinese: English words are names, commands and quoted texts only.
func TestChineseMessagesAreChinese(t *testing.T) {
	allowed := []string{
		"sts-webhook", "prod", "Pod", "API server", "caBundle", "CA", "webhook", "nodeSelector", "StatefulSet", "JSON", "Kubernetes", "RBAC", "immutable",
		"etcd", "Secret", "namespace", "custom-node-selector", "UTC", "MutatingWebhookConfiguration sts-mutating-webhook", "ab-build-different",
	}
	for reason, text := range chinese.reasons {
		for _, part := range []string{text.title, text.line, text.cause, text.impact, text.action} {
			rest := part
			for _, word := range allowed {
				rest = strings.ReplaceAll(rest, word, "")
			}
			for strings.Contains(rest, "{") {
				before, after, _ := strings.Cut(rest, "{")
				_, after, _ = strings.Cut(after, "}")
				rest = before + after
			}
			if strings.ContainsFunc(rest, func(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }) {
				t.Errorf("%s: %q holds English", reason, part)
			}
		}
	}
}

// Both languages say the same things, and every reason and code has its words.
func TestBothLanguagesHaveEveryText(t *testing.T) {
	for name, p := range map[string]*phrases{"zh": &chinese, "en": &english} {
		for _, reason := range Reasons() {
			text, known := p.reasons[reason]
			switch {
			case !known && reason != PodPlaced && reason != Recovered:
				t.Errorf("%s: nothing to say about %s", name, reason)
			case kindOf(reason) == Denied && reason != Recovered && (text.cause == "" || text.action == ""):
				t.Errorf("%s: %s has no cause or no advice", name, reason)
			case severities[reason] >= warning && kindOf(reason) != Denied && (text.title == "" || text.impact == "" || text.action == "" || text.cause == ""):
				t.Errorf("%s: %s lacks title, impact, cause or advice", name, reason)
			}
			if strings.ContainsAny(text.example, "`*_[]<>&\\") {
				t.Errorf("%s: the example of %s holds signs of markdown: %s", name, reason, text.example)
			}
		}
		for _, code := range Codes() {
			if p.codes[code] == "" {
				t.Errorf("%s: nothing to say about code %s", name, code)
			}
		}
	}
	for reason := range chinese.reasons {
		if _, known := english.reasons[reason]; !known {
			t.Errorf("%s is in Chinese only", reason)
		}
	}
	if len(chinese.reasons) != len(english.reasons) || len(chinese.codes) != len(english.codes) || len(chinese.causes) != len(english.causes) {
		t.Error("the languages differ in what they can say")
	}
}
