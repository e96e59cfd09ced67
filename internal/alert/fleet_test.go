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
// replicas of the webhook, a StatefulSet of 200, every ordinal told once.
func TestFleetPlacesTwoHundredReplicas(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.options.Replicas = func() int { return 3 }
		fleet := []*instance{w.start(), w.start(), w.start()}
		random := rand.New(rand.NewPCG(1, 2))
		for ordinal := range int32(200) { // podManagementPolicy OrderedReady, a pod every 2 s
			fleet[random.IntN(3)].Notify(placed("web", ordinal, []string{"node1", "node2"}[ordinal%2]))
			w.pass(2 * time.Second)
		}
		w.pass(time.Minute)
		sum, stats := w.placedSum(), w.robot.Stats()
		for ordinal := range 200 {
			want := []string{"name=node1", "name=node2"}[ordinal%2]
			if got := sum[fmt.Sprintf("shop/web-%d", ordinal)]; got != want {
				t.Errorf("ordinal %d was told as %q, want %q", ordinal, got, want)
			}
		}
		if len(sum) != 200 || stats.Bans != 0 || stats.MaxPerWindow > dingtalktest.MaxPerWindow {
			t.Errorf("%d pods told, %d bans, %d messages in the worst minute", len(sum), stats.Bans, stats.MaxPerWindow)
		}
		t.Logf("%d messages for 200 pods, %d in the worst minute", stats.Accepted, stats.MaxPerWindow)
	})
}

// TestFleetIsNeverPunished floods fleets of each size for ten minutes, with a
// rolling restart of all replicas at once in the middle.
func TestFleetIsNeverPunished(t *testing.T) {
	for replicas := 1; replicas <= 10; replicas++ {
		inWorld(t, func(t *testing.T, w *world) {
			w.options.Replicas = func() int { return replicas }
			fleet := make([]*instance, replicas)
			for i := range fleet {
				fleet[i] = w.start()
			}
			w.pass(5 * time.Minute) // the buckets are full
			for second := range 600 {
				if second == 300 {
					var ends sync.WaitGroup
					for _, n := range fleet {
						ends.Go(n.end)
					}
					ends.Wait()
					for i := range fleet {
						fleet[i] = w.start()
					}
				}
				for _, n := range fleet {
					n.Notify(placed(fmt.Sprintf("s%d", second), 0, "node1"))
				}
				w.pass(time.Second)
			}
			w.pass(2 * time.Minute)
			stats := w.robot.Stats()
			if stats.Bans != 0 || stats.MaxPerWindow > dingtalktest.MaxPerWindow {
				t.Errorf("%d replicas: %d bans, %d messages in the worst minute", replicas, stats.Bans, stats.MaxPerWindow)
			}
			if stats.Accepted < 30 {
				t.Errorf("%d replicas: only %d messages in ten minutes", replicas, stats.Accepted)
			}
			t.Logf("%2d replicas: %3d messages, %2d in the worst minute", replicas, stats.Accepted, stats.MaxPerWindow)
		})
	}
}

func TestPaceKeepsTheRobotsLimitInTheWorstCase(t *testing.T) {
	for replicas := -1; replicas <= 10; replicas++ {
		limit, burst := pace(replicas)
		interval := time.Duration(float64(time.Second) / float64(limit))
		share := max(1, replicas)
		inAMinute := burst + int((time.Minute+time.Second)/interval) + 1
		if inAMinute*share > robotLimit {
			t.Errorf("%d replicas: burst %d, one per %v and the last: %d messages a minute", replicas, burst, interval, inAMinute*share)
		}
	}
	for _, replicas := range []int{11, 20, 50, 1000} {
		limit, _ := pace(replicas)
		if perMinute := float64(limit) * 60 * float64(replicas); perMinute > robotLimit {
			t.Errorf("%d replicas: %v messages a minute on average", replicas, perMinute)
		}
	}
}

func TestNotifyFromManyGoroutines(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
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
			t.Errorf("%d pods told, want 2000", got)
		}
	})
}
