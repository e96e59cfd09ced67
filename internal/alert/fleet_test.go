package alert

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

// TestFleetPlacesTwoHundredReplicas is the promise as users see it: three
// replicas of the webhook, a StatefulSet of 200, every ordinal reported once.
func TestFleetPlacesTwoHundredReplicas(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		w.options.AlertRate = defaultAlertRate
		fleet := []*instance{w.start(), w.start(), w.start()}
		random := rand.New(rand.NewPCG(1, 2))
		for ordinal := range int32(200) { // podManagementPolicy OrderedReady, a pod every 2 s
			fleet[random.IntN(3)].Notify(placed("web", ordinal, []string{"node1", "node2"}[ordinal%2]))
			w.pass(2 * time.Second)
		}
		w.pass(2 * time.Minute)
		sum, stats := w.placedSum(), w.robot.Stats()
		for ordinal := range 200 {
			want := []string{"name=node1", "name=node2"}[ordinal%2]
			if got := sum[fmt.Sprintf("shop/web-%d", ordinal)]; got != want {
				t.Errorf("ordinal %d was reported as %q, want %q", ordinal, got, want)
			}
		}
		if len(sum) != 200 || stats.Bans != 0 || stats.MaxPerWindow > dingtalktest.MaxPerWindow {
			t.Errorf("%d pods reported, %d bans, %d messages in the worst minute", len(sum), stats.Bans, stats.MaxPerWindow)
		}
		t.Logf("%d messages for 200 pods, %d in the worst minute", stats.Accepted, stats.MaxPerWindow)
	})
}

func TestNotifyFromManyGoroutines(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		n := w.start()
		var callers sync.WaitGroup
		for caller := range int32(8) {
			callers.Go(func() {
				for i := range int32(250) {
					n.Notify(placed("web", caller*250+i, "node1"))
					if i%50 == 0 {
						time.Sleep(time.Second)
					}
				}
			})
		}
		callers.Wait()
		w.pass(time.Minute)
		if got := len(w.placedSum()); got != 2000 {
			t.Errorf("%d pods reported, want 2000", got)
		}
	})
}
