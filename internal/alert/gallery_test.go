package alert

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite docs/alerts-gallery.md")

const galleryFile = "../../docs/alerts-gallery.md"

// scene is one message of the gallery: what happened, and which category tells it.
type scene struct {
	title    string
	category category
	happens  func(*story)
}

// story makes events, a second apart, with a pinned clock.
type story struct {
	q   *queue
	now time.Time
}

func (s *story) add(e Event) {
	s.q.add(e, s.now)
	s.now = s.now.Add(time.Second)
}

// tell sends what waits, so that later events are news about what was told.
func (s *story) tell(c category) {
	s.q.settle(s.q.pick(c, s.now, true), s.now, true)
}

func (s *story) pass(d time.Duration) { s.now = s.now.Add(d) }

const (
	certsSecret   = "Secret sts-webhook-certs"
	configuration = "MutatingWebhookConfiguration sts-mutating-webhook"
)

var caEnds = Details{CA: "3f9a1c07b2de", CAEnds: time.Date(2036, 3, 1, 10, 0, 0, 0, time.UTC), CertificateEnds: time.Date(2027, 3, 1, 10, 0, 0, 0, time.UTC)}

// scenes are every kind of message, the worst first.
func scenes() []scene {
	all := []scene{
		{"trust lost", own, func(s *story) { s.add(trust(TrustLost)) }},
		{"the webhook configuration is missing", own, func(s *story) {
			s.add(Event{Kind: Trust, Reason: TrustLost, Details: Details{Cause: "configuration_missing"}})
		}},
		{"trust restored", own, func(s *story) {
			s.add(trust(TrustLost))
			s.tell(own)
			s.pass(4*time.Minute + 7*time.Second)
			s.add(trust(TrustRestored))
		}},
		{"trust comes and goes, and the clock is wrong", own, func(s *story) {
			s.add(Event{Kind: Clock, Reason: ClockSkew, Details: Details{Skew: -6*time.Minute - 3*time.Second}})
			for _, reason := range []string{TrustLost, TrustRestored, TrustLost, TrustRestored, TrustLost} {
				s.add(trust(reason))
				s.pass(time.Minute)
			}
		}},
		{"the clock is wrong", own, func(s *story) {
			s.add(Event{Kind: Clock, Reason: ClockSkew, Details: Details{Skew: 2*time.Hour + 5*time.Minute}})
		}},
		{"the clock is right again", own, func(s *story) {
			s.add(Event{Kind: Clock, Reason: ClockSkew, Details: Details{Skew: time.Hour}})
			s.tell(own)
			s.pass(26 * time.Hour)
			s.add(Event{Kind: Clock, Reason: ClockRight})
		}},
		{"a write is refused", own, func(s *story) {
			s.add(Event{Kind: Certificate, Reason: WriteRefused, Details: Details{Object: certsSecret, Text: `restore: secrets "sts-webhook-certs" is forbidden: admission webhook "policy.example" denied the request`}})
		}},
		{"writes succeed again", own, func(s *story) {
			s.add(Event{Kind: Certificate, Reason: WriteRefused, Details: Details{Object: certsSecret, Text: "x"}})
			s.tell(own)
			s.pass(12 * time.Minute)
			s.add(Event{Kind: Certificate, Reason: WriteSucceeded, Details: Details{Object: certsSecret}})
		}},
		{"something else writes the caBundle again and again", own, func(s *story) {
			s.add(Event{Kind: Certificate, Reason: RepairRecurs, Details: Details{Object: configuration, Cause: "bundle_replaced", Manager: "argocd-controller", Count: 3}})
		}},
		{"it stopped", own, func(s *story) {
			s.add(Event{Kind: Certificate, Reason: RepairRecurs, Details: Details{Object: configuration, Cause: "bundle_replaced", Manager: "argocd-controller", Count: 3}})
			s.tell(own)
			s.pass(20 * time.Minute)
			s.add(Event{Kind: Certificate, Reason: RepairsEnded, Details: Details{Object: configuration}})
		}},
		{"the Secret was deleted and restored", own, func(s *story) {
			s.add(Event{Kind: Certificate, Reason: SecretRestored, Details: Details{Object: certsSecret, Cause: "deleted", Manager: "unknown"}})
		}},
		{"the caBundle was repaired", own, func(s *story) {
			s.add(Event{Kind: Certificate, Reason: CABundleRepaired, Details: Details{Object: configuration, Cause: "bundle_emptied", Manager: "kubectl-edit"}})
		}},
		{"a rotation", own, func(s *story) {
			s.add(Event{Kind: Certificate, Reason: CARotated, Details: caEnds})
			s.add(Event{Kind: Certificate, Reason: CARetired, Details: caEnds})
		}},
		{"a pod is refused", denials, func(s *story) {
			for range 7 {
				s.add(deniedFor("db", "evn"))
			}
		}},
		{"it is refused still, after ten minutes", denials, func(s *story) {
			s.add(deniedFor("db", "evn"))
			s.tell(denials)
			for range 17 {
				s.add(deniedFor("db", "evn"))
			}
			s.pass(10 * time.Minute)
			s.add(deniedFor("db", "evn"))
		}},
		{"several StatefulSets are refused, and one recovered", denials, func(s *story) {
			s.add(denied("old"))
			s.tell(denials)
			s.pass(12 * time.Minute)
			s.q.noteRecovery(placed("old", 0, "node1"), s.now)
			s.add(deniedFor("db", "evn"))
			s.add(Event{Kind: Denied, Reason: AnnotationMissing, Namespace: "shop", StatefulSet: "cache"})
			s.add(Event{Kind: Denied, Reason: AnnotationInvalid, Namespace: "bank", StatefulSet: "ledger",
				Details: Details{Code: "FieldInvalid", Field: "odd", Value: "@all [x](http://evil.test) **b**\n# h"}})
			s.add(Event{Kind: Denied, Reason: MoreDenied, Namespace: "load"})
		}},
		{"a StatefulSet recovered", denials, func(s *story) {
			s.add(denied("db"))
			s.tell(denials)
			s.pass(12 * time.Minute)
			s.q.noteRecovery(placed("db", 0, "node1"), s.now)
		}},
		{"200 pods are placed", placements, func(s *story) {
			for ordinal := range int32(200) {
				s.add(placed("web", ordinal, []string{"node1", "node2"}[ordinal%2]))
			}
			s.now = s.now.Add(-3 * time.Minute)
		}},
		{"other ordinals", placements, func(s *story) {
			for ordinal := int32(1); ordinal < 30; ordinal += 3 {
				s.add(placed("cache", ordinal, "node_3"))
			}
			for _, ordinal := range []int32{0, 2, 4, 7, 8, 9, 10, 11} {
				s.add(placed("db-2", ordinal, "node1"))
			}
		}},
		{"more than a message holds", denials, func(s *story) {
			for i := range 30 {
				s.add(denied(fmt.Sprintf("set-%02d", i)))
			}
			s.q.dropped = 12
		}},
		{"a replica starts", own, func(s *story) { s.add(Event{Kind: Lifecycle, Reason: Started}) }},
		{"a replica stops", own, func(s *story) { s.add(Event{Kind: Lifecycle, Reason: Stopping}) }},
	}
	for _, reason := range Reasons() {
		if categoryOf(kindOf(reason)) != denials || reason == AnnotationInvalid || reason == AnnotationMissing || reason == Recovered || reason == MoreDenied {
			continue
		}
		all = append(all, scene{"refused: " + reason, denials, func(s *story) {
			s.add(Event{Kind: Denied, Reason: reason, Namespace: "shop", StatefulSet: "db", Details: Details{Field: "spec.nodeSelector", Value: "7"}})
		}})
	}
	for _, code := range Codes() {
		all = append(all, scene{"refused: " + AnnotationInvalid + ", " + code, denials, func(s *story) {
			s.add(Event{Kind: Denied, Reason: AnnotationInvalid, Namespace: "shop", StatefulSet: "db", Details: Details{Code: code, Field: "odd", Value: "17"}})
		}})
	}
	return append(all, scene{"an unknown reason", denials, func(s *story) {
		s.add(Event{Kind: Denied, Reason: "SomethingNew", Namespace: "shop", StatefulSet: "db", Details: Details{Text: "what a newer part says"}})
	}})
}

// kindOf is the kind of events with the reason.
func kindOf(reason string) Kind {
	switch severities[reason] {
	case warning:
		if !isState(reason) {
			return Denied
		}
	case resolved:
		if reason == Recovered {
			return Denied
		}
	}
	return Certificate
}

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
// every kind of message in both languages at once: go test -run Gallery -update writes it.
func TestGalleryShowsEveryMessage(t *testing.T) {
	var page strings.Builder
	page.WriteString("# Every alert, in both languages\n\nWritten by a test from the program's own texts; a difference fails it.\n" +
		"`go test -run Gallery -update ./internal/alert` writes the page anew.\n")
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
		t.Errorf("docs/alerts-gallery.md differs: go test -run Gallery -update ./internal/alert writes it")
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
