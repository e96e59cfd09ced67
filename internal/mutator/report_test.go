package mutator

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"

	"sts-mutating-webhook/internal/placement"
)

// recorder is an Observer that remembers.
type recorder struct {
	placed []Placement
	denied []Denial
}

func (r *recorder) Placed(p Placement) { r.placed = append(r.placed, p) }
func (r *recorder) Denied(d Denial)    { r.denied = append(r.denied, d) }

// fixture is a handler whose reports can be read. Every request takes 250 us.
type fixture struct {
	handler  *Handler
	observer recorder
	logs     bytes.Buffer
}

func newFixture(level slog.Level) *fixture {
	b := &fixture{}
	log := logr.FromSlogHandler(slog.NewJSONHandler(&b.logs, &slog.HandlerOptions{Level: level}))
	b.handler = NewHandler(Settings{}, &b.observer, &b.logs, log, nil)
	clock := time.Unix(1_700_000_000, 0)
	b.handler.now = func() time.Time {
		clock = clock.Add(250 * time.Microsecond)
		return clock
	}
	return b
}

func (b *fixture) post(body string) { b.handler.Handle([]byte(body), func(int, []byte) {}) }

// lines returns the log without its time stamps.
func (b *fixture) lines(t *testing.T) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for line := range bytes.Lines(b.logs.Bytes()) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatal(err)
		}
		delete(fields, "time")
		lines = append(lines, fields)
	}
	return lines
}

func dryRun(review string) string {
	return strings.Replace(review, `"operation"`, `"dryRun":true,"operation"`, 1)
}

// webOwner is the StatefulSet of unknownPod.
var webOwner = Owner{Namespace: "shop", StatefulSet: "web", APIVersion: "apps/v1", UID: "5e7a"}

func TestPlacedPodIsReported(t *testing.T) {
	for sentence, dry := range map[string]bool{"to log and observer": false, "to the log alone if it is a dry run": true} {
		t.Run(sentence, func(t *testing.T) {
			b := newFixture(slog.LevelInfo)
			body := reviewOf(podJSON(webRule, ""))
			var want []Placement
			if dry {
				body = dryRun(body)
			} else {
				want = []Placement{{Owner: webOwner, Pod: "web-1", Ordinal: 1, Revision: "web-5d9", Key: "name", Value: "node2"}}
			}
			b.post(body)
			if diff := cmp.Diff([]map[string]any{{
				"level": "INFO", "logger": "admission", "msg": "pod placed", "uid": "u1", "namespace": "shop", "statefulSet": "web", "pod": "web-1",
				"ordinal": 1.0, "key": "name", "value": "node2", "dryRun": dry, "durationSeconds": 250e-6,
			}}, b.lines(t)); diff != "" {
				t.Errorf("logs differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(recorder{placed: want}, b.observer, cmp.AllowUnexported(recorder{})); diff != "" {
				t.Errorf("observations differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDeniedPodIsReported(t *testing.T) {
	const message = `annotation custom-node-selector: field "even" is missing; write ` + placement.Example + ` in the StatefulSet's pod template`
	for sentence, dry := range map[string]bool{"to log and observer": false, "to the log alone if it is a dry run": true} {
		t.Run(sentence, func(t *testing.T) {
			b := newFixture(slog.LevelInfo)
			body := reviewOf(podJSON(`{"key":"k"}`, ""))
			var want []Denial
			if dry {
				body = dryRun(body)
			} else {
				want = []Denial{{Owner: webOwner, Pod: "web-1", Reason: "AnnotationInvalid", Problem: Problem{Code: placement.CodeFieldMissing, Field: "even", Form: "even/odd"}, Message: message}}
			}
			b.post(body)
			if diff := cmp.Diff([]map[string]any{{
				"level": "INFO", "logger": "admission", "msg": "pod denied", "uid": "u1", "namespace": "shop", "statefulSet": "web", "pod": "web-1",
				"reason": "AnnotationInvalid", "message": message, "dryRun": dry, "durationSeconds": 250e-6,
			}}, b.lines(t)); diff != "" {
				t.Errorf("logs differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(recorder{denied: want}, b.observer, cmp.AllowUnexported(recorder{})); diff != "" {
				t.Errorf("observations differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheRestIsLoggedOnlyWhenVerbose(t *testing.T) {
	for sentence, c := range map[string]struct{ body, message string }{
		"a pod without the label": {reviewOf(`{"metadata":{"name":"x-1"}}`), "request ignored"},
		"a pod that is right":     {reviewOf(podJSON(webRule, `{"name":"node2"}`)), "pod unchanged"},
		"what is no review":       {"hello", "request refused"},
	} {
		t.Run(sentence, func(t *testing.T) {
			quiet, verbose := newFixture(slog.LevelInfo), newFixture(slog.LevelDebug)
			quiet.post(c.body)
			verbose.post(c.body)
			if quiet.logs.Len() > 0 {
				t.Errorf("got the log %s, want none", &quiet.logs)
			}
			if lines := verbose.lines(t); len(lines) != 1 || lines[0]["msg"] != c.message {
				t.Errorf("got the verbose log %v, want %q", lines, c.message)
			}
			if diff := cmp.Diff(recorder{}, verbose.observer, cmp.AllowUnexported(recorder{})); diff != "" {
				t.Errorf("what was reported (-want +got):\n%s", diff)
			}
		})
	}
}

// Names come unvalidated: they must neither fill the log nor the observer.
func TestReportsAreBounded(t *testing.T) {
	b := newFixture(slog.LevelInfo)
	long := strings.Repeat("x", 4000)
	b.post(strings.NewReplacer(`"name\"`, `"`+long+`\"`, `"shop"`, `"`+long+`"`, `"u1"`, `"`+long+`"`).
		Replace(reviewOf(podJSON(webRule, ""))))
	if len(b.observer.denied) != 1 {
		t.Fatalf("got %+v, want one denial", b.observer)
	}
	d := b.observer.denied[0]
	if got := len(d.Namespace); got != maxName {
		t.Errorf("got a namespace of %d bytes, want %d", got, maxName)
	}
	if b.logs.Len() > 2000 || len(d.Message) > 1000 {
		t.Errorf("got a log of %d and a message of %d bytes", b.logs.Len(), len(d.Message))
	}
}

func TestPodsOfAnUnknownStatefulSetAreReportedWithoutOne(t *testing.T) {
	b := newFixture(slog.LevelInfo)
	b.post(reviewOf(`{"metadata":{"name":"web-1","labels":{"ab-build-different":"true"}},"spec":{}}`))
	if len(b.observer.denied) != 1 || b.observer.denied[0].StatefulSet != "" || b.observer.denied[0].Reason != "NoStatefulSet" {
		t.Errorf("got %+v, want one denial without a StatefulSet", b.observer)
	}
}
