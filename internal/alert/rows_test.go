package alert

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

// The tests of this file are named after the rows of the issue about alerts.

func TestA1EveryChangeOfAStateIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		begin, end Event
		said       [2]string // in the titles
	}{
		"trust": {trust(TrustLost), trust(TrustRestored), [2]string{"is no longer trusted", "is trusted by the API server again (lasted 1 min"}},
		"clock": {Event{Kind: Clock, Reason: ClockSkew, Details: Details{Skew: time.Hour}}, Event{Kind: Clock, Reason: ClockRight},
			[2]string{"clock off by 1 h", "clock right again (lasted 1 min"}},
		"pods that wait": {
			Event{Kind: Gate, Reason: PodsWaiting, Details: Details{Count: 2, Value: "shop/db-0"}}, Event{Kind: Gate, Reason: PodsReleased},
			[2]string{"has 2 pods that wait to be placed", "has no pods left that wait to be placed (lasted 1 min"}},
		"a repair loop": {
			Event{Kind: Certificate, Reason: RepairRecurs, Details: Details{Object: "Secret x", Cause: "deleted", Manager: "argocd", Count: 3}},
			Event{Kind: Certificate, Reason: RepairsEnded, Details: Details{Object: "Secret x"}},
			[2]string{"has to repair Secret x again and again", "no longer has to repair Secret x (lasted 1 min"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, w *fixture) {
				n := w.start()
				for i := range 3 { // lost, restored, lost, ... within ten minutes
					n.Notify(c.begin)
					w.pass(30 * time.Second)
					n.Notify(c.begin) // the same state again is a repeat
					w.pass(30 * time.Second)
					n.Notify(c.end)
					w.pass(time.Minute)
					if got, want := len(w.robot.Messages()), 2*(i+1); got != want {
						t.Fatalf("%d messages after %d changes, want one for each:\n%s", got, want, w.sent())
					}
				}
				n.Notify(c.begin)
				w.pass(time.Minute)
				for i, m := range w.robot.Messages() {
					if want := c.said[i%2]; !strings.Contains(m.Title, want) {
						t.Errorf("message %d: title %q, want %q", i+1, m.Title, want)
					}
				}
				if got := len(w.robot.Messages()); got != 7 {
					t.Errorf("%d messages, want 7: the group's last word is a lie", got)
				}
				n.expect(t, map[string]float64{"suppressed_total": 3})
			})
		})
	}
}

func TestA2OneLineThatDingTalkRefusesIsGivenUpAndNothingElse(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		w.route(dingtalktest.New(dingtalktest.Options{Token: testToken, Secret: testSecret, Improper: "forbidden"}))
		n := w.start()
		for i := range 10 {
			n.Notify(deniedFor(fmt.Sprintf("set-%d", i), map[bool]string{true: "forbidden", false: "evn"}[i == 4]))
		}
		n.Notify(trust(TrustLost))
		w.pass(time.Minute)
		if first := w.robot.Messages()[0]; !strings.Contains(first.Title, "trust") || strings.Contains(first.Text, "set-") {
			t.Errorf("first message %q, want the loss of trust alone", first.Text)
		}
		w.pass(time.Minute)
		for i := range 10 {
			if got := strings.Contains(w.sent(), fmt.Sprintf("set-%d", i)); got != (i != 4) {
				t.Errorf("set-%d reported: %v, want all but the one at fault", i, got)
			}
		}
		n.expect(t, map[string]float64{"dropped_total": 1, "queue_length": 0})
		if got := w.logs.count("gave up an alert that DingTalk refuses"); got != 1 {
			t.Errorf("logged %d times, want once:\n%s", got, w.logs)
		}
		// The StatefulSet goes on retrying beside others, also when its repeats are due.
		for i := range 24 {
			n.Notify(deniedFor("set-4", "forbidden"))
			n.Notify(deniedFor(fmt.Sprintf("other-%d", i), "evn"))
			w.pass(time.Minute)
			if !strings.Contains(w.sent(), fmt.Sprintf("other-%d", i)) {
				t.Fatalf("minute %d: a retry of the line at fault silenced another StatefulSet", i)
			}
		}
		if refused := w.robot.Stats().Refused[430102]; refused > 12 {
			t.Errorf("%d messages were refused, want about 4 to find the line and one in ten minutes", refused)
		}
	})
}

func TestA2TroubleOfOurOwnIsSentFirstAndAlone(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		n := w.start()
		n.Notify(placed("web", 0, "node1"))
		n.Notify(denied("db"))
		n.Notify(trust(TrustLost))
		w.pass(time.Minute)
		for i, want := range []string{"is no longer trusted", "refuses to create pods: shop/db", "set the nodeSelector"} {
			if m := w.robot.Messages()[i]; !strings.Contains(m.Title, want) || strings.Contains(m.Text, "shop/") != (i > 0) {
				t.Errorf("message %d: %q, want %q alone", i+1, m.Text, want)
			}
		}
	})
}

func TestA2EveryCodeAboutContentIsolatesAndAnUnknownCodeKeeps(t *testing.T) {
	for code, kept := range map[int]bool{430101: false, 430102: false, 430103: false, 430104: false, 987654: true, 90018: true} {
		simulate(t, func(t *testing.T, w *fixture) {
			n := w.start()
			w.robot.Behave(dingtalktest.Errcode(code))
			n.Notify(denied("web"))
			n.Notify(denied("db"))
			w.pass(2 * time.Minute)
			w.robot.Behave(dingtalktest.OK)
			w.pass(2 * time.Minute)
			if got := strings.Contains(w.sent(), "shop/web") && strings.Contains(w.sent(), "shop/db"); got != kept {
				t.Errorf("errcode %d: reported after the trouble: %v, want %v", code, got, kept)
			}
			n.expect(t, map[string]float64{"dropped_total": map[bool]float64{true: 0, false: 2}[kept], "queue_length": 0})
		})
	}
}

func TestA4EveryAnswerOfARateLimitedRobotPauses(t *testing.T) {
	const dingTalk = "http://oapi.dingtalk.com/robot/send?access_token=tok3n-0123456789abcdef%2B%2F"
	for name, behaviour := range map[string]dingtalktest.Behaviour{
		"a redirect": dingtalktest.Redirect, "a ban of the address": dingtalktest.Punish, "HTTP 429": dingtalktest.Status(429),
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, w *fixture) {
				w.credentials(dingTalk, testSecret)
				n := w.start()
				w.robot.Behave(behaviour)
				n.Notify(denied("web"))
				w.pass(9 * time.Minute)
				if got := w.robot.Stats().Calls; got != 1 {
					t.Errorf("%d calls in nine minutes, want one and silence", got)
				}
				n.expect(t, map[string]float64{`failed_total{reason="throttled"}`: 1})
				w.robot.Behave(dingtalktest.OK)
				w.pass(2 * time.Minute)
				if !strings.Contains(w.sent(), "shop/web") {
					t.Error("the denial was not reported after the pause")
				}
			})
		})
	}
}

func TestA5MobilesAndUserIDsAreReallyCalled(t *testing.T) {
	for _, messageType := range []string{typeMarkdown, typeText} {
		simulate(t, func(t *testing.T, w *fixture) {
			w.options.MessageType = messageType
			w.options.AtMobiles, w.options.AtUserIDs, w.options.AtAll = []string{"13800000000"}, []string{"manager01"}, true
			n := w.start()
			n.Notify(denied("web"))
			n.Notify(placed("db", 0, "node1"))
			n.Notify(Event{Kind: Lifecycle, Reason: Started})
			w.pass(time.Minute)
			for _, m := range w.robot.Messages() {
				trouble := strings.Contains(m.Text, "refuses")
				if got := strings.Join(m.Called(), " "); trouble != (got == "13800000000 manager01") || trouble != m.AtAll || !trouble && got != "" {
					t.Errorf("called %q and all %v by %q, want both by trouble and nobody by the rest", got, m.AtAll, m.Text)
				}
			}
			if got := len(w.robot.Messages()); got != 3 {
				t.Errorf("%d messages, want 3", got)
			}
		})
	}
}

func TestA6AnotherMistakeWithTheSameReasonIsToldAtOnce(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		n := w.start()
		for i, field := range []string{"evn", "evn", "od", "evn", "od"} {
			n.Notify(deniedFor("web", field))
			w.pass(time.Minute)
			if got, want := len(w.robot.Messages()), min(2, 1+i/2); got != want {
				t.Fatalf("%d messages after %d denials, want %d", got, i+1, want)
			}
		}
		for i, field := range []string{"evn", "od"} {
			if !strings.Contains(w.texts()[i], "unknown field "+field) {
				t.Errorf("message %q, want field %s in it", w.texts()[i], field)
			}
		}
	})
}

func TestA7OwnLinesStandInOrderWithTheirTimeAndTheStateOfNow(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		w.options.Window = 10 * time.Minute
		n := w.start()
		w.pass(time.Until(time.Date(2000, 1, 1, 8, 0, 0, 0, time.UTC))) // the bubble begins at midnight
		n.Notify(Event{Kind: Clock, Reason: ClockSkew, Details: Details{Skew: -6 * time.Minute}})
		for _, reason := range []string{TrustLost, TrustRestored, TrustLost, TrustRestored} {
			w.pass(time.Minute)
			n.Notify(trust(reason))
		}
		w.pass(10 * time.Minute)
		got := w.sent()
		want := strings.Join([]string{
			"- 08:00:00 clock off by 6 min", "- 08:01:00 trust lost", "- 08:02:00 trust restored (lasted 1 min)",
			"- 08:03:00 trust lost", "- 08:04:00 trust restored (lasted 1 min)",
		}, "\n")
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant in it\n%s", got, want)
		}
		if !strings.Contains(got, "**Now**: trust restored (since 08:04:00)") {
			t.Errorf("got\n%s\nwant the state of now", got)
		}
		if !strings.HasPrefix(got, "### 🟠 [test] sts-webhook sees its node's clock off by 6 min\n") {
			t.Errorf("got\n%s\nwant what is still wrong as the title", got)
		}
	})
}

func TestA9TheClockAlertArrivesThoughTheClockIsHoursOff(t *testing.T) {
	for _, off := range []time.Duration{61 * time.Minute, -30 * time.Hour} {
		simulate(t, func(t *testing.T, w *fixture) {
			w.route(dingtalktest.New(dingtalktest.Options{Token: testToken, Secret: testSecret, Now: func() time.Time { return time.Now().Add(off) }}))
			n := w.start()
			n.Notify(Event{Kind: Clock, Reason: ClockSkew, Details: Details{Skew: -off}})
			w.pass(30 * time.Second)
			if !strings.Contains(w.sent(), "clock off by") {
				t.Fatalf("reported %q, want the clock; logs %s", w.sent(), w.logs)
			}
			n.Notify(denied("web"))
			w.pass(30 * time.Second)
			if stats := w.robot.Stats(); stats.Accepted != 2 || stats.Calls != 3 {
				t.Errorf("%+v, want two messages with three calls: the distance is remembered", stats)
			}
		})
	}
}
