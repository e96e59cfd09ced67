package alert

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

func TestTheLastDigestTellsWhatWaits(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.start()
		n.Notify(placed("web", 0, "node1"))
		n.Notify(Event{Kind: Lifecycle, Reason: "Stopping"})
		n.end()
		texts := w.texts()
		if len(texts) != 1 || !strings.Contains(texts[0], "web-0 ->") || !strings.Contains(texts[0], "Stopping") {
			t.Errorf("messages %q, want one with both events", texts)
		}
		n.Notify(denied("web")) // safe, and admitted to be lost
		n.expect(t, map[string]float64{"sent_total": 1, "dropped_total": 1, "queue_length": 0})
	})
}

func TestTheEndWithNothingToTellIsSilentAndImmediate(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.start()
		w.pass(time.Minute)
		began := time.Now()
		n.end()
		if calls := w.robot.Stats().Calls; calls != 0 || time.Since(began) != 0 {
			t.Errorf("%d calls, took %v, want none", calls, time.Since(began))
		}
	})
}

// TestTheEndComesWithinThreeSeconds ends the notifier in each state in which it
// may be; what it could not tell is counted.
func TestTheEndComesWithinThreeSeconds(t *testing.T) {
	for name, c := range map[string]struct {
		behaviour dingtalktest.Behaviour
		after     time.Duration // from the event to the end
		took      time.Duration
		calls     int
	}{
		"while gathering, the robot hangs":            {dingtalktest.Hang, time.Second, finalBudget, 1},
		"while a call is in flight and hangs":         {dingtalktest.Hang, defaultWindow + time.Second, finalBudget, 1},
		"while a slow answer is read":                 {dingtalktest.SlowLoris, defaultWindow + time.Second, finalBudget, 1},
		"while waiting for the next attempt":          {dingtalktest.Reset, defaultWindow + time.Second, 0, 2},
		"while silent after the robot's penalty":      {dingtalktest.Errcode(130101), time.Minute, 0, 1},
		"while silent after a wrong setting was seen": {dingtalktest.Errcode(310000), 30 * time.Second, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				n := w.start()
				w.robot.Behave(c.behaviour)
				n.Notify(denied("web"))
				w.pass(c.after)
				began := time.Now()
				n.end()
				if took := time.Since(began); took != c.took {
					t.Errorf("the end took %v, want %v", took, c.took)
				}
				if calls := w.robot.Stats().Calls; calls != c.calls {
					t.Errorf("%d calls, want %d", calls, c.calls)
				}
				n.expect(t, map[string]float64{"dropped_total": 1, "queue_length": 0})
				if got := w.logs.count("alerts left unsent at the end"); got != 1 {
					t.Errorf("the loss was logged %d times, want once", got)
				}
				w.hidesCredentials(w.logs.String(), n.exposition(t))
			})
		})
	}
}

func TestTheLastDigestIsTriedWhilePausedForTroubleThatMayBeOver(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.start()
		w.robot.Behave(dingtalktest.Errcode(310000))
		n.Notify(denied("web"))
		w.pass(30 * time.Second)
		w.robot.Behave(dingtalktest.OK)
		n.end()
		if texts := w.texts(); len(texts) != 1 {
			t.Errorf("messages %q, want one", texts)
		}
		n.expect(t, map[string]float64{"sent_total": 1, "dropped_total": 0})
	})
}

func TestACallInFlightAtTheEndIsNotRepeated(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.listen.delay = 2 * time.Second
		n := w.start()
		n.Notify(denied("web"))
		w.pass(defaultWindow + time.Second)
		n.end()
		if texts := w.texts(); len(texts) != 1 {
			t.Errorf("messages %q, want one", texts)
		}
		n.expect(t, map[string]float64{"sent_total": 1, "dropped_total": 0})
	})
}

func TestTheLastDigestSaysHowMuchItLeavesOut(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.start()
		const events = 1000
		for i := range events {
			n.Notify(denied(fmt.Sprintf("set-%04d", i)))
		}
		n.end()
		texts := w.texts()
		if len(texts) != 1 {
			t.Fatalf("%d messages, want one", len(texts))
		}
		told := strings.Count(texts[0], "InvalidAnnotation")
		if want := fmt.Sprintf("%d more events are left out", events-told); told < 100 || !strings.Contains(texts[0], want) {
			t.Errorf("%d told, want %q in the message", told, want)
		}
		n.expect(t, map[string]float64{"dropped_total": float64(events - told)})
	})
}
