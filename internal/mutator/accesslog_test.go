package mutator

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
)

// keysAndValues decodes a line of one object of strings, numbers and booleans, in its order.
func keysAndValues(t *testing.T, line []byte) []any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(line))
	var got []any
	for d.More() {
		token, err := d.Token()
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if token != json.Delim('{') {
			got = append(got, token)
		}
	}
	return got
}

func TestAccessLogIsWhatSlogWouldWrite(t *testing.T) {
	const odd = "a \"b\" \\ \n\x00\x7f <&> \u2028 节点 \xff"
	for sentence, c := range map[string]struct {
		decision decision
		want     []any
	}{
		"ignored": {decision{outcome: ignored}, []any{"uid", "u1", "namespace", "shop", "pod", odd}},
		"unchanged": {decision{outcome: unchanged, ordinal: 3, key: "k", value: "v"},
			[]any{"uid", "u1", "namespace", "shop", "statefulSet", "web", "pod", odd, "ordinal", int32(3), "key", "k", "value", "v"}},
		"placed": {decision{outcome: placed, ordinal: 2147483647, key: odd, value: ""},
			[]any{"uid", "u1", "namespace", "shop", "statefulSet", "web", "pod", odd, "ordinal", int32(2147483647), "key", odd, "value", ""}},
		"denied": {decision{outcome: denied, denial: &denial{reason: "r", message: odd}},
			[]any{"uid", "u1", "namespace", "shop", "statefulSet", "web", "pod", odd, "reason", "r", "message", odd}},
	} {
		t.Run(sentence, func(t *testing.T) {
			for _, took := range []time.Duration{0, 1, 250 * time.Microsecond, 3*time.Second + 7} {
				verbose := c.decision.outcome == ignored || c.decision.outcome == unchanged
				e := accessEntry{accessMessage[c.decision.outcome], "u1", "shop", "web", odd, verbose, true, took}
				var slogged bytes.Buffer
				log := logr.FromSlogHandler(slog.NewJSONHandler(&slogged, &slog.HandlerOptions{Level: slog.LevelDebug})).WithName(loggerName)
				if verbose {
					log = log.V(1)
				}
				log.Info(e.message, append(slices.Clone(c.want), "dryRun", true, "durationSeconds", took.Seconds())...)
				want, got := keysAndValues(t, slogged.Bytes()), keysAndValues(t, appendAccess(nil, &e, &c.decision, time.Now()))
				before, err := time.Parse(time.RFC3339Nano, want[1].(string))
				now, err2 := time.Parse(time.RFC3339Nano, got[1].(string))
				if err != nil || err2 != nil || now.Before(before) || now.Sub(before) > time.Minute {
					t.Errorf("got the time %v, want about %v", got[1], want[1])
				}
				want[1], got[1] = nil, nil
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("lines differ (-slog +ours):\n%s", diff)
				}
			}
		})
	}
}

// The API server waits for the answer, for nothing else.
func TestTheAnswerIsSentBeforeAnythingIsReported(t *testing.T) {
	for sentence, body := range map[string]string{
		"placed": reviewOf(podJSON(webRule, "")), "denied": reviewOf(podJSON("{", "")), "ignored": reviewOf("{}"), "no review": "{}",
	} {
		t.Run(sentence, func(t *testing.T) {
			b := newFixture(slog.LevelDebug)
			b.handler.Handle([]byte(body), func(int, []byte) {
				if b.logs.Len() > 0 || len(b.observer.placed)+len(b.observer.denied) > 0 {
					t.Errorf("reported before the answer: %s, %+v", &b.logs, b.observer)
				}
			})
			if b.logs.Len() == 0 {
				t.Error("nothing was reported after the answer")
			}
		})
	}
}
