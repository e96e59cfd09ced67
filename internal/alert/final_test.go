package alert

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

func TestTheLastMessageTellsWhatWaits(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		n := w.start()
		n.Notify(placed("web", 0, "node1"))
		n.Notify(Event{Kind: Lifecycle, Reason: Stopping})
		w.pass(time.Minute + 2*time.Second)
		n.Notify(placed("web", 1, "node2"))
		n.Notify(denied("db"))
		n.Notify(Event{Kind: Lifecycle, Reason: Stopping}) // a repeat
		n.end()
		texts := w.texts()
		if len(texts) != 4 || !strings.Contains(texts[2], "refuses") || !strings.Contains(texts[3], "web 1 →") {
			t.Errorf("messages %q, want two, then what waited at the end, the refusal first", texts)
		}
		n.Notify(denied("web")) // safe, and admitted to be lost
		n.expect(t, map[string]float64{"sent_total": 4, "dropped_total": 1, "queue_length": 0})
	})
}

func TestTheEndWithNothingToTellIsSilentAndImmediate(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
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
			simulate(t, func(t *testing.T, w *fixture) {
				n := w.start()
				w.pass(rateWindow) // a young process has no last message
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

func TestTheLastMessageIsTriedWhilePausedForTroubleThatMayBeOver(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
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
	simulate(t, func(t *testing.T, w *fixture) {
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

func TestTheLastMessageSaysHowMuchItLeavesOut(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		n := w.start()
		w.pass(rateWindow)
		for i := range maxDenialsPerNamespace {
			n.Notify(denied(fmt.Sprintf("set-%04d", i)))
		}
		n.end()
		texts := w.texts()
		if len(texts) != 1 {
			t.Fatalf("%d messages, want one", len(texts))
		}
		const left = maxDenialsPerNamespace - maxBatchLines
		if want := fmt.Sprintf("%d more could not be sent", left); !strings.Contains(texts[0], want) {
			t.Errorf("%s\nwant %q in the message", texts[0], want)
		}
		n.expect(t, map[string]float64{"dropped_total": left})
	})
}

func TestAtTheEndTheShareIsKept(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		w.options.AlertRate = defaultAlertRate
		n := w.start()
		w.pass(20 * time.Second)
		n.Notify(denied("web")) // takes the one call that a new process has
		w.pass(defaultWindow)
		n.Notify(denied("db"))
		n.end()
		if got := len(w.texts()); got != 1 {
			t.Errorf("%d messages, want one", got)
		}
		n.expect(t, map[string]float64{"dropped_total": 1})
		if w.logs.count("the share of the robot's messages is used up") != 1 {
			t.Errorf("the loss was not explained:\n%s", w.logs)
		}
	})
}
