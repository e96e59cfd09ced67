package alert

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

func TestEventsOfAWindowBecomeOneMessage(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		n := w.start()
		w.pass(time.Minute)
		for _, ordinal := range []int32{4, 0, 2} {
			n.Notify(placed("web", ordinal, "node1"))
		}
		w.pass(defaultWindow - time.Millisecond)
		if got := len(w.robot.Messages()); got != 0 {
			t.Fatalf("%d messages before the window ended, want 0", got)
		}
		n.expect(t, map[string]float64{"queue_length": 1})
		w.pass(time.Millisecond)
		texts := w.texts()
		if len(texts) != 1 || !strings.Contains(texts[0], "shop/web 0, 2, 4 → name=node1") {
			t.Fatalf("messages %q, logs %s", texts, w.logs)
		}
		n.expect(t, map[string]float64{"sent_total": 1, "queue_length": 0, "dropped_total": 0,
			"last_success_timestamp_seconds": unix(time.Now())})
	})
}

func TestTheSameThingIsNotToldAgainForTenMinutes(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		n := w.start()
		n.Notify(denied("web"))
		n.Notify(placed("db", 0, "node1"))
		w.pass(time.Minute)
		for range 9 { // every minute: a denial, an ordinal reported already and a new one
			n.Notify(denied("web"))
			n.Notify(placed("db", 0, "node1"))
			w.pass(time.Minute - defaultWindow)
		}
		if got := len(w.robot.Messages()); got != 2 {
			t.Fatalf("%d messages, want the denial and the placement: %q", got, w.texts())
		}
		n.expect(t, map[string]float64{"suppressed_total": 18})

		n.Notify(placed("db", 2, "node1")) // news, although its line was reported
		n.Notify(placed("db", 0, "node3")) // news: the same pod elsewhere
		w.pass(10 * time.Second)
		texts := w.texts()
		if len(texts) != 3 || !strings.Contains(texts[2], "db 2 → name=node1") || !strings.Contains(texts[2], "db 0 → name=node3") {
			t.Fatalf("messages %q, want the new ordinal and the new place in the third", texts)
		}

		w.pass(10 * time.Minute)
		n.Notify(denied("web"))
		n.Notify(placed("db", 0, "node1"))
		w.pass(10 * time.Second)
		texts = w.texts()
		if len(texts) != 5 || !strings.Contains(texts[3], "shop/web (9 more times since it was last reported)") ||
			!strings.Contains(texts[4], "db 0 → name=node1") {
			t.Fatalf("messages %q, want everything again, with the count of repeats", texts)
		}
	})
}

func TestOnlySelectedKindsAreReported(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		w.options.AlertOn = nil
		n := w.start()
		n.Notify(Event{Kind: Lifecycle, Reason: Started})
		n.Notify(Event{Kind: "other", Reason: "Other"})
		n.Notify(Event{Kind: Clock, Reason: ClockSkew})
		w.pass(time.Minute)
		if texts := w.texts(); len(texts) != 1 || strings.Contains(texts[0], "started") || !strings.Contains(texts[0], "clock") {
			t.Fatalf("messages %q, want the clock alone", texts)
		}
	})
}

func TestThrottledNotifierIsSilentForTenMinutesAndLosesNothing(t *testing.T) {
	for _, code := range []int{130101, 410100, 90030} {
		simulate(t, func(t *testing.T, w *fixture) {
			n := w.start()
			w.robot.Behave(dingtalktest.Errcode(code))
			n.Notify(placed("web", 0, "node1"))
			w.pass(defaultWindow)
			start := time.Now()
			n.expect(t, map[string]float64{
				`failed_total{reason="throttled"}`: 1, "queue_length": 1,
				"paused_until_timestamp_seconds": unix(start.Add(10 * time.Minute)),
			})
			for ordinal := range int32(100) {
				n.Notify(placed("web", ordinal, "node1"))
				w.pass(5 * time.Second)
			}
			w.robot.Behave(dingtalktest.OK)
			w.pass(time.Until(start.Add(10*time.Minute)) - time.Millisecond)
			if got := w.robot.Stats().Calls; got != 1 {
				t.Fatalf("errcode %d: %d calls during the penalty, want the one that met it", code, got)
			}
			w.pass(time.Second)
			texts := w.texts()
			if len(texts) != 1 || !strings.Contains(texts[0], "web 0–99 → name=node1") {
				t.Fatalf("errcode %d: messages after the penalty %q, want one with all ordinals", code, texts)
			}
			n.expect(t, map[string]float64{"paused_until_timestamp_seconds": 0, "dropped_total": 0, "queue_length": 0})
		})
	}
}

func TestPassingTroubleIsRetriedWithANewSignature(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		n := w.start()
		w.robot.Behave(dingtalktest.Errcode(-1))
		w.pass(time.Minute)
		n.Notify(denied("web"))
		w.pass(defaultWindow)
		var waits []time.Duration
		for calls, last := 1, time.Now(); calls < maxAttempts; {
			w.pass(100 * time.Millisecond)
			if now := w.robot.Stats().Calls; now > calls {
				waits, last, calls = append(waits, time.Since(last)), time.Now(), now
			}
		}
		for i, want := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second} { // Random is 0.5
			if waits[i] < want || waits[i] > want+200*time.Millisecond {
				t.Errorf("wait %d was %v, want %v", i+1, waits[i], want)
			}
		}
		w.pass(troublePause - time.Second)
		if got := w.robot.Stats().Calls; got != maxAttempts {
			t.Fatalf("%d calls, want %d and then a pause", got, maxAttempts)
		}
		w.robot.Behave(dingtalktest.OK)
		w.pass(2 * time.Second)
		if got := w.texts(); len(got) != 1 {
			t.Fatalf("messages %q, want the one that was kept", got)
		}
		n.expect(t, map[string]float64{`failed_total{reason="server"}`: 4, "sent_total": 1, "dropped_total": 0})
		if again := w.robot.Stats().Reused; again != 0 {
			t.Errorf("%d calls carried an old signature, want none", again)
		}
		if got := w.logs.count("alerts cannot be sent"); got != 1 {
			t.Errorf("the cause was logged %d times, want once", got)
		}
		if got := w.logs.count("alerts are sent again"); got != 1 {
			t.Errorf("the end was logged %d times, want once", got)
		}
	})
}

func TestBackoffIsSpread(t *testing.T) {
	for attempt, want := range map[int][2]time.Duration{1: {1, 3}, 2: {2, 6}, 3: {4, 12}} {
		if low, high := backoff(attempt, 0), backoff(attempt, 1); low != want[0]*time.Second || high != want[1]*time.Second {
			t.Errorf("attempt %d waits from %v to %v, want %v s", attempt, low, high, want)
		}
	}
}

func TestWrongSettingIsLoggedOnceAndMendedWithoutRestart(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		w.credentials("http://robot.test/robot/send?access_token=tok3n-0123456789abcdef%2B%2F", "SECwrong")
		n := w.start()
		for ordinal := range int32(60) {
			n.Notify(placed("web", ordinal, "node1"))
			w.pass(10 * time.Second)
		}
		if got := w.logs.count("alerts cannot be sent"); got != 1 {
			t.Errorf("the cause was logged %d times, want once:\n%s", got, w.logs)
		}
		if calls := w.robot.Stats().Calls; calls < 8 || calls > 10 {
			t.Errorf("%d calls in 10 min, want one a minute", calls)
		}
		w.credentials("http://robot.test/robot/send?access_token=tok3n-0123456789abcdef%2B%2F", testSecret)
		w.pass(time.Minute)
		if got := len(w.placedSum()); got != 60 {
			t.Errorf("%d pods reported after the mending, want 60", got)
		}
		n.expect(t, map[string]float64{"dropped_total": 0})
	})
}

func TestCredentialsAppearChangeAndDisappearWithoutRestart(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		w.credentials("", "")
		n := w.start()
		for range 3 {
			n.Notify(placed("web", 0, "node1"))
			w.pass(time.Minute)
		}
		if got := w.logs.count(`"alerts are off"`); got != 1 {
			t.Errorf("that alerts are off was logged %d times, want once", got)
		}
		n.expect(t, map[string]float64{"queue_length": 0, "dropped_total": 0, "sent_total": 0})

		w.credentials("http://robot.test/robot/send?access_token=tok3n-0123456789abcdef%2B%2F&timestamp=1&sign=stale", testSecret)
		n.Notify(placed("web", 1, "node1"))
		w.pass(time.Minute)

		other := dingtalktest.New(dingtalktest.Options{Token: "an-unsigned-robot"})
		before := w.robot
		w.route(other)
		w.credentials("http://robot.test/robot/send?access_token=an-unsigned-robot", "")
		n.Notify(placed("web", 2, "node1"))
		w.pass(time.Minute)

		if err := os.Remove(filepath.Join(w.dir, "url")); err != nil {
			t.Fatal(err)
		}
		n.Notify(placed("web", 3, "node1"))
		w.pass(time.Minute)
		if first, second := before.Messages(), other.Messages(); len(first) != 1 || len(second) != 1 ||
			!strings.Contains(first[0].Text, "web 1 →") || !strings.Contains(second[0].Text, "web 2 →") {
			t.Errorf("the robots got %v and %v, want web-1 and web-2", first, second)
		}
		if got := w.logs.count(`"alerts are off"`); got != 2 {
			t.Errorf("that alerts are off was logged %d times, want twice", got)
		}
	})
}

// countingClock counts timers. After a thousand it makes none that ends, so that a sender that never rests fails the test and does
// not hang it.
type countingClock struct {
	clock.RealClock
	timers atomic.Int32
}

func (c *countingClock) NewTimer(d time.Duration) clock.Timer {
	if c.timers.Add(1) > 1000 {
		d = time.Hour
	}
	return c.RealClock.NewTimer(d)
}

// A state that holds is kept while alerts are off, to be reported when they are on.
func TestWhatIsKeptWhileAlertsAreOffKeepsNobodyBusy(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		w.credentials("", "")
		var c countingClock
		w.options.Clock = &c
		n := w.start()
		n.Notify(Event{Kind: Trust, Reason: TrustLost})
		w.pass(10 * time.Minute)
		if got := c.timers.Load(); got > 200 {
			t.Errorf("the sender woke up %d times in 10 min, want once in %v or so", got, lookEvery)
		}
		w.credentials("http://robot.test/robot/send?access_token=tok3n-0123456789abcdef%2B%2F", testSecret)
		w.pass(2 * lookEvery)
		if messages := w.robot.Messages(); len(messages) != 1 || !strings.Contains(messages[0].Text, "trust") {
			t.Errorf("once alerts are on the robot got %v, want the lost trust", messages)
		}
	})
}

func TestAFaultInTheNotifierIsSurvived(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		w.options.Random = func() float64 { panic("no luck") } // asked after a failed call
		n := w.start()
		w.robot.Behave(dingtalktest.Status(500))
		n.Notify(denied("web"))
		w.pass(time.Minute)
		n.expect(t, map[string]float64{`failed_total{reason="bug"}`: 1, "dropped_total": 1})
		w.robot.Behave(dingtalktest.OK)
		n.Notify(denied("web"))
		w.pass(time.Minute)
		n.expect(t, map[string]float64{"sent_total": 1})
	})
}

func TestStartingTwiceFails(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		n := w.start()
		w.pass(time.Second)
		if err := n.Start(t.Context()); err == nil {
			t.Error("the second Start returned nil, want an error")
		}
	})
}
