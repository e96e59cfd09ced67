package alert

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

// space returns the denial of a StatefulSet in one of many namespaces.
func space(i int) Event {
	e := denied("web")
	e.Namespace = fmt.Sprintf("space-%06d", i)
	return e
}

func TestAFloodIsBoundedAndItsDropsAreReported(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		n := w.start()
		w.robot.Behave(dingtalktest.Hang) // the worst case: one batch is stuck while the queue fills
		n.Notify(denied("first"))
		w.pass(defaultWindow + time.Second)
		before := heap()
		const flood = 100_000
		detail := strings.Repeat("x", maxDetailBytes)
		for i := range flood {
			e := space(i)
			e.Details.Field, e.Details.Text = detail+fmt.Sprint(i), detail+fmt.Sprint(i)
			n.Notify(e)
		}
		n.Notify(trust(TrustLost))
		grown := heap() - before
		t.Logf("%d distinct events: %d KiB", flood, grown>>10)
		if grown > 8<<20 {
			t.Errorf("memory grew by %d bytes, want at most 8 MiB", grown)
		}
		n.expect(t, map[string]float64{"queue_length": defaultMaxLines + 1, "dropped_total": flood - defaultMaxLines + 1})
		w.robot.Behave(dingtalktest.OK)
		w.pass(20 * time.Minute)
		texts := w.texts()
		if got := strings.Count(w.sent(), fmt.Sprintf("%d were dropped", flood-defaultMaxLines+1)); got != 1 {
			t.Errorf("the drops were reported %d times, want once, in %d messages", got, len(texts))
		}
		if !strings.Contains(texts[0], "no longer trusted") {
			t.Errorf("the first message lacks the loss of trust, which came last")
		}
		if got := strings.Count(w.sent(), "- space-"); got != defaultMaxLines-1 {
			t.Errorf("%d of the flood were reported, want the %d that had room", got, defaultMaxLines-1)
		}
		n.expect(t, map[string]float64{"queue_length": 0, "dropped_total": flood - defaultMaxLines + 1})
	})
}

func TestAFloodOfOrdinalsIsBounded(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		w.options.MaxOrdinals = 1000
		n := w.start()
		for ordinal := range int32(1500) {
			n.Notify(placed("web", ordinal, "node1"))
		}
		w.pass(time.Minute)
		if got := len(w.placedSum()); got != 1000 {
			t.Errorf("%d pods reported, want 1000", got)
		}
		if !strings.Contains(w.texts()[0], "500 were dropped") {
			t.Errorf("message %q lacks the drops", w.texts()[0])
		}
		n.expect(t, map[string]float64{"dropped_total": 500})
	})
}

// TestScatteredOrdinalsAreSplitOverMessages takes the hardest set of ordinals, one
// that has no ranges, at the size of the largest clusters.
func TestScatteredOrdinalsAreSplitOverMessages(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		n := w.start()
		want := map[string]bool{}
		random := rand.New(rand.NewPCG(3, 4))
		for range 5000 {
			ordinal := random.Int32N(1 << 30)
			want[fmt.Sprintf("shop/web-%d", ordinal)] = true
			n.Notify(placed("web", ordinal, "node1"))
		}
		w.pass(10 * time.Minute)
		if got := len(w.placedSum()); got != len(want) {
			t.Errorf("%d pods reported, want %d", got, len(want))
		}
		for i, m := range w.robot.Messages() {
			if last := i == len(w.robot.Messages())-1; strings.Contains(m.Text, "more will follow") == last {
				t.Errorf("message %d of %d announces a next one: %v", i+1, len(w.robot.Messages()), !last)
			}
		}
		n.expect(t, map[string]float64{"dropped_total": 0})
		t.Logf("%d messages", len(w.robot.Messages()))
	})
}

// TestEveryMessageFits fills messages with the worst texts that the bounds allow.
func TestEveryMessageFits(t *testing.T) {
	worst := strings.Repeat("&", 1000)
	details := Details{Code: worst, Field: worst, Value: worst, Object: worst, Cause: worst, Manager: worst, CA: worst, Text: worst}
	now := time.Now()
	for _, language := range []string{languageZh, languageEn} {
		for _, messageType := range []string{typeMarkdown, typeText} {
			o := Options{Language: language, MessageType: messageType, ClusterName: strings.Repeat("@", maxClusterName), Replica: strings.Repeat("_", 253)}
			for range maxPeople {
				o.AtMobiles = append(o.AtMobiles, strings.Repeat("1", 20))
				o.AtUserIDs = append(o.AtUserIDs, strings.Repeat("&", 64))
			}
			if err := o.Validate(); err != nil {
				t.Fatal(err)
			}
			r := newRenderer(o)
			q := newQueue(limits{lines: 100, ordinals: 100_000})
			for set := range 30 {
				name := fmt.Sprintf("%060d", set)
				q.add(Event{Kind: Certificate, Reason: worst[:60] + name, Details: details}, now)
				q.add(Event{Kind: Denied, Reason: worst, Namespace: name, StatefulSet: name, Details: details}, now)
				for i := range int32(100) { // runs of minRun with odd steps, ten digits each
					ordinal := 2_000_000_000 + i/minRun*100_000 + i%minRun*10_001
					q.add(Event{Kind: Placed, Reason: worst, Namespace: name, StatefulSet: name, Key: worst, Value: worst, Ordinal: ordinal}, now)
				}
			}
			for c := own; c < categories; c++ {
				for q.events(c) > 0 {
					b := q.pick(c, now, true)
					body, err := r.message(&b, now)
					if err != nil || len(b.entries) == 0 {
						t.Fatalf("error %v, %d lines", err, len(b.entries))
					}
					if len(body) > maxBodyBytes {
						t.Fatalf("%s %s: category %d: a body of %d bytes", language, messageType, c, len(body))
					}
					if got := lines(t, body); got > 20 {
						t.Fatalf("%s %s: %d lines, want at most 20:\n%s", language, messageType, got, body)
					}
					q.delivered(b, now, true)
				}
			}
		}
	}
}

// lines counts the lines of a message as a reader sees them.
func lines(t *testing.T, body []byte) (n int) {
	t.Helper()
	for line := range strings.Lines(contentOf(t, body)) {
		if strings.TrimSpace(line) != "" {
			n++
		}
	}
	return n
}

func TestAnEventDoesNotKeepTheRequestAlive(t *testing.T) {
	n, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	for i := range 20 {
		body := strings.Repeat("x", 7<<20) + fmt.Sprint(i)
		end := body[len(body)-4:]
		n.Notify(Event{Kind: Denied, Reason: end, Namespace: end, StatefulSet: end, Details: Details{Text: body, Field: end}})
		n.Notify(Event{Kind: Placed, Reason: end, Namespace: end, StatefulSet: end, Key: end, Value: end})
	}
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("%d bytes are held, want less than 1 MiB", grown)
	}
	runtime.KeepAlive(n)
}

// heap returns the bytes in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestNotifyNeitherAllocatesNorWaitsWhileTheRobotHangs(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		n := w.start()
		w.robot.Behave(dingtalktest.Hang)
		n.Notify(denied("web"))
		w.pass(defaultWindow + time.Second) // the call is in flight
		if w.robot.Stats().Calls != 1 {
			t.Fatal("no call is in flight")
		}
		n.Notify(denied("web"))
		n.Notify(placed("web", 1, "node2"))
		before := time.Now() // the bubble's clock moves only if somebody waits
		allocations := testing.AllocsPerRun(1000, func() {
			n.Notify(denied("web"))
			n.Notify(placed("web", 1, "node2"))
		})
		if allocations != 0 || time.Since(before) != 0 {
			t.Errorf("Notify made %v allocations and waited %v, want none", allocations, time.Since(before))
		}
	})
}

func BenchmarkNotify(b *testing.B) {
	n, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	events := make([]Event, 400)
	for i := range events {
		events[i] = placed("web", int32(i), "node1")
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			n.Notify(events[i%len(events)])
		}
	})
}
