package alert

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestA8OnlyNamesThatCanExistAreTold(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		n := w.start()
		impossible := []string{
			strings.Repeat("please-call-", 21), "please call", "Web", "web-", "-web", "we..b", "web.-a", "wéb", "web_1", strings.Repeat("x", 64),
		}
		for _, name := range impossible {
			n.Notify(denied(name))
			n.Notify(placed(name, 1, "node1"))
			e := denied("web")
			e.Namespace = name
			n.Notify(e)
		}
		for _, name := range []string{"web", "7", "web.example", "a-b", strings.Repeat("x", 63)} {
			n.Notify(denied(name))
		}
		w.pass(time.Minute)
		for _, name := range impossible {
			if strings.Contains(w.sent(), name+" ") || strings.Contains(w.sent(), name+":") || strings.Contains(w.sent(), "please") {
				t.Errorf("%.20s... was reported:\n%s", name, w.sent())
			}
		}
		if got := strings.Count(w.sent(), "- shop/"); got != 5 {
			t.Errorf("%d StatefulSets reported, want the 5 possible ones:\n%s", got, w.sent())
		}
		n.expect(t, map[string]float64{"dropped_total": float64(3 * len(impossible))})
	})
}

func TestA8ANamespaceCannotPushOutAnother(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		n := w.start()
		for i := range 3000 {
			n.Notify(denied(fmt.Sprintf("set-%04d", i)))
		}
		other := denied("db")
		other.Namespace = "bank"
		n.Notify(other)
		w.pass(defaultWindow + time.Second)
		if !strings.Contains(w.texts()[0], "bank/db") {
			t.Errorf("the first message lacks the other namespace:\n%s", w.texts()[0])
		}
		w.pass(10 * time.Minute)
		if want := fmt.Sprintf("- shop (%d times)", 3000-maxDenialsPerNamespace); !strings.Contains(w.sent(), want) {
			t.Errorf("the rest was not counted, want %q", want)
		}
		if got := strings.Count(w.sent(), "- shop/set-"); got != maxDenialsPerNamespace {
			t.Errorf("%d lines of the namespace were reported, want %d", got, maxDenialsPerNamespace)
		}
		n.expect(t, map[string]float64{"queue_length": 0, "dropped_total": 3000 - maxDenialsPerNamespace})
	})
}

func TestARecoveredStatefulSetIsToldWithItsDuration(t *testing.T) {
	for name, on := range map[string][]Kind{"with placements reported": Kinds, "without": {Denied}} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, w *fixture) {
				w.options.AlertOn = on
				n := w.start()
				for range 2 { // the same mistake after a recovery is news again
					n.Notify(placed("other", 0, "node1"))
					n.Notify(denied("web"))
					w.pass(5 * time.Minute)
					n.Notify(placed("web", 0, "node1"))
					w.pass(recoverAfter + time.Second)
				}
				want := []string{
					"🟠 [test] sts-webhook refuses to create pods: shop/web", "🟢 [test] sts-webhook recovered: shop/web (lasted 5 min)",
					"🟠 [test] sts-webhook refuses to create pods: shop/web", "🟢 [test] sts-webhook recovered: shop/web (lasted 5 min)",
				}
				var got []string
				for _, m := range w.robot.Messages() {
					if !strings.Contains(m.Title, "nodeSelector") {
						got = append(got, m.Title)
					}
				}
				if strings.Join(got, "\n") != strings.Join(want, "\n") {
					t.Errorf("titles\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			})
		})
	}
}

// The pods of a StatefulSet may be of two revisions, of which one is wrong.
func TestAStatefulSetThatIsRefusedAgainHasNotRecovered(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		n := w.start()
		for i := range int32(40) {
			n.Notify(denied("web"))
			w.pass(5 * time.Second)
			n.Notify(placed("web", i, "node1"))
			w.pass(recoverAfter - 6*time.Second)
		}
		if strings.Contains(w.sent(), "recovered") {
			t.Errorf("reported a recovery between two refusals:\n%s", w.sent())
		}
	})
}
