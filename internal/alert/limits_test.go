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

func TestAFloodIsBoundedAndItsDropsAreReported(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.start()
		w.robot.Behave(dingtalktest.Hang) // the worst case: one batch is stuck while the next fills
		n.Notify(denied("first"))
		w.pass(defaultWindow + time.Second)
		before := heap()
		const flood = 100_000
		detail := strings.Repeat("x", maxMessageBytes)
		for i := range flood {
			e := denied(fmt.Sprintf("set-%06d", i))
			e.Message = detail + fmt.Sprint(i)
			n.Notify(e)
		}
		n.Notify(Event{Kind: Trust, Reason: "TrustLost"})
		grown := heap() - before
		t.Logf("%d distinct events: %d KiB", flood, grown>>10)
		if grown > 8<<20 {
			t.Errorf("memory grew by %d bytes, want at most 8 MiB", grown)
		}
		n.expect(t, map[string]float64{"queue_length": 1 + defaultMaxLines + 1, "dropped_total": flood - defaultMaxLines})
		w.robot.Behave(dingtalktest.OK)
		w.pass(20 * time.Minute)
		texts := w.texts()
		all := strings.Join(texts, "\n")
		if got := strings.Count(all, fmt.Sprintf("%d events were dropped", flood-defaultMaxLines)); got != 1 {
			t.Errorf("the drops were reported %d times, want once, in %d messages", got, len(texts))
		}
		if !strings.Contains(texts[0], "TrustLost") {
			t.Errorf("the first message lacks the loss of trust, which came last")
		}
		if got := strings.Count(all, "- shop/set-"); got != defaultMaxLines {
			t.Errorf("%d of the flood were told, want the %d that had room", got, defaultMaxLines)
		}
		n.expect(t, map[string]float64{"queue_length": 0, "dropped_total": flood - defaultMaxLines})
	})
}

func TestAFloodOfOrdinalsIsBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.options.MaxOrdinals = 1000
		n := w.start()
		for ordinal := range int32(1500) {
			n.Notify(placed("web", ordinal, "node1"))
		}
		w.pass(time.Minute)
		if got := len(w.placedSum()); got != 1000 {
			t.Errorf("%d pods told, want 1000", got)
		}
		if !strings.Contains(w.texts()[0], "500 events were dropped") {
			t.Errorf("message %q lacks the drops", w.texts()[0])
		}
		n.expect(t, map[string]float64{"dropped_total": 500})
	})
}

// TestScatteredOrdinalsAreSplitOverMessages takes the hardest set of ordinals, one
// that has no ranges, at the size of the largest clusters.
func TestScatteredOrdinalsAreSplitOverMessages(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.start()
		want := map[string]bool{}
		random := rand.New(rand.NewPCG(3, 4))
		for range 5000 {
			ordinal := random.Int32N(1 << 30)
			want[fmt.Sprintf("shop/web-%d", ordinal)] = true
			n.Notify(placed("web", ordinal, "node1"))
		}
		for i := range 1000 {
			n.Notify(denied(fmt.Sprintf("set-%04d-%s", i, strings.Repeat("y", 200))))
		}
		w.pass(10 * time.Minute)
		if got := len(w.placedSum()); got != len(want) {
			t.Errorf("%d pods told, want %d", got, len(want))
		}
		told := 0
		for i, m := range w.robot.Messages() {
			told += strings.Count(m.Text, "InvalidAnnotation")
			if last := i == len(w.robot.Messages())-1; strings.Contains(m.Text, "more events follow") == last {
				t.Errorf("message %d of %d announces a next one: %v", i+1, len(w.robot.Messages()), !last)
			}
		}
		if told != 1000 {
			t.Errorf("%d denials told, want 1000", told)
		}
		n.expect(t, map[string]float64{"dropped_total": 0})
		t.Logf("%d messages", len(w.robot.Messages()))
	})
}

func TestASingleLineAlwaysFits(t *testing.T) {
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
			r, err := newRenderer(o)
			if err != nil {
				t.Fatal(err)
			}
			worst := strings.Repeat("&", 1000)
			l := newLedger(10, 100_000)
			for i := range int32(maxRunsPerLine * minRun * 2) { // runs of minRun with odd steps, ten digits each
				ordinal := 2_000_000_000 + i/minRun*100_000 + i%minRun*10_001
				l.add(Event{Kind: Placed, Reason: worst, Namespace: worst, StatefulSet: worst, Key: worst, Value: worst, Message: worst, Ordinal: ordinal}, time.Now())
			}
			l.add(Event{Kind: Denied, Reason: worst, Namespace: worst, StatefulSet: worst, Message: worst}, time.Now())
			for len(l.lines) > 0 {
				d, err := r.fit(l, shortBodyBytes, false)
				if err != nil {
					t.Fatal(err)
				}
				if len(d.body) > maxBodyBytes {
					t.Fatalf("%s %s: a body of %d bytes", language, messageType, len(d.body))
				}
				for _, c := range d.choices {
					l.remove(c.key, c.ordinals)
				}
			}
		}
	}
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
		n.Notify(Event{Kind: Denied, Reason: end, Namespace: end, StatefulSet: end, Message: body})
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
	inWorld(t, func(t *testing.T, w *world) {
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
