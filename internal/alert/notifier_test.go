package alert

import (
	"strings"
	"testing"
	"time"
)

func TestEventsOfAWindowBecomeOneMessage(t *testing.T) {
	inWorld(t, func(w *world) {
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
		if len(texts) != 1 || !strings.Contains(texts[0], "shop/web-0, 2, 4 -> name=node1") {
			t.Fatalf("messages %q, logs %s", texts, w.logs)
		}
		n.expect(t, map[string]float64{"sent_total": 1, "queue_length": 0, "dropped_total": 0})
	})
}
