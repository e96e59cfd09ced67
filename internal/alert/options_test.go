package alert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
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
		Window: time.Millisecond, RepeatAfter: 25 * time.Hour, MaxLines: -1, AlertRate: 21, Timezone: "Moon/Crater",
	}
	err := wrong.Validate()
	if err == nil {
		t.Fatal("everything wrong is accepted")
	}
	for _, want := range []string{
		"--dingtalk-message-type=html: must be markdown or text",
		"--alert-language=de: must be zh or en",
		"--cluster-name=" + strings.Repeat("é", 65) + ": must be at most 64 characters",
		"--alert-on=deny: must be one of [trust certificate clock denied placed gate lifecycle]",
		"--dingtalk-at-mobiles=@138: must be 5 to 20 digits",
		"--dingtalk-at-user-ids=(51 entries): must be at most 50 entries",
		"--dingtalk-at-user-ids=a b: must be 1 to 64 characters",
		"--alert-window=1ms: must be from 1s to 10m",
		"--alert-repeat-after=25h0m0s: must be from 1m to 24h",
		"--alert-rate=21: must be from 1 to 20",
		"--alert-timezone=Moon/Crater: must be the IANA name of a time zone",
		"-1 lines",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if got := len(strings.Split(err.Error(), "\n")); got != 12 {
		t.Errorf("%d mistakes, want 12:\n%v", got, err)
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
