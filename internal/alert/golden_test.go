package alert

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// goldenEvents touch every branch of the templates.
func goldenEvents() *ledger {
	at := time.Date(2026, 3, 1, 23, 59, 58, 0, time.UTC)
	l := newLedger(100, 1000)
	step := func(e Event) { l.add(e, at); at = at.Add(500 * time.Millisecond) }
	for ordinal := range int32(200) {
		step(placed("web", ordinal, []string{"node1", "node2"}[ordinal%2]))
	}
	for _, ordinal := range []int32{0, 2, 4} {
		step(placed("db-2", ordinal, "node1"))
	}
	for ordinal := int32(1); ordinal < 30; ordinal += 3 {
		step(placed("cache", ordinal, "node3"))
	}
	for ordinal := range int32(5) {
		step(placed("queue", ordinal+7, "node3"))
	}
	step(denied("web"))
	step(denied("web"))
	step(Event{Kind: Denied, Reason: "InvalidAnnotation", Namespace: "shop", StatefulSet: "evil",
		Message: "value \"@all [x](http://evil.test) **b** <i> 1_2_3 \u202e&#64;\n# h\" is not a label value"})
	step(Event{Kind: Denied, Reason: "NoOwner", Namespace: "shop", Message: "set --default-statefulset"})
	step(Event{Kind: Certificate, Reason: "CARotated", Message: "next CA expires 2027-03-01"})
	step(Event{Kind: Trust, Reason: "TrustLost", Message: "x509: certificate signed by unknown authority"})
	step(Event{Kind: Clock, Reason: "ClockSkew", Message: "6m3s"})
	step(Event{Kind: Lifecycle, Reason: "Started"})
	for key, waiting := range l.lines {
		if key.reason == "NoOwner" {
			waiting.repeats, waiting.cut = 17, 88
		}
	}
	l.dropped = 12
	return l
}

func TestGoldenMessages(t *testing.T) {
	for _, language := range []string{languageZh, languageEn} {
		for _, messageType := range []string{typeMarkdown, typeText} {
			name := language + "-" + messageType
			t.Run(name, func(t *testing.T) {
				r, err := newRenderer(Options{
					Language: language, MessageType: messageType, ClusterName: "prod_1", Replica: "sts-webhook-7d9f-abcde",
					AtMobiles: []string{"13800000000", "+86-13900000000"}, AtUserIDs: []string{"manager01"},
				})
				if err != nil {
					t.Fatal(err)
				}
				waiting := goldenEvents()
				d, err := r.fit(waiting, maxBodyBytes, true)
				if err != nil {
					t.Fatal(err)
				}
				golden(t, name, d.body)
				var m message
				if err := json.Unmarshal(d.body, &m); err != nil {
					t.Fatal(err)
				}
				content := ""
				if m.Markdown != nil {
					content = m.Markdown.Text
				} else {
					content = m.Text.Content
				}
				pods, err := dingtalktest.Placed(content)
				if err != nil {
					t.Fatal(err)
				}
				if len(pods) != 200+3+10+5 {
					t.Errorf("%d pods in the text, want 218", len(pods))
				}
			})
		}
	}
}

func TestGoldenTestMessages(t *testing.T) {
	for _, language := range []string{languageZh, languageEn} {
		r, err := newRenderer(Options{Language: language, MessageType: typeMarkdown, ClusterName: "prod"})
		if err != nil {
			t.Fatal(err)
		}
		body, err := r.render(page{Test: true, From: "2026-03-01 23:59:58"})
		if err != nil {
			t.Fatal(err)
		}
		golden(t, language+"-test", body)
	}
}

// golden compares the body, laid out for the reader, with testdata/<name>.txt.
func golden(t *testing.T, name string, body []byte) {
	t.Helper()
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	var text string
	if m.Markdown != nil {
		text = "title: " + m.Markdown.Title + "\n\n" + m.Markdown.Text
	} else {
		text = m.Text.Content
	}
	people, err := json.Marshal(m.At)
	if err != nil {
		t.Fatal(err)
	}
	got := "msgtype: " + m.Type + "\nat: " + string(people) + "\n" + text + "\n"
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("message differs from %s (go test -run Golden -update rewrites it); got:\n%s", file, got)
	}
}
