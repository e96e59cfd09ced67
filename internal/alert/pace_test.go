package alert

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

// rollouts replaces all replicas again and again while each process has news every
// second: a denial and a placement that nobody has heard of. As with maxSurge 1 and
// maxUnavailable 0, a new process is ready after three seconds, then an old one is asked
// to end, drains and reports to its end.
type rollouts struct {
	w            *fixture
	replicas     int
	drain, pause time.Duration
	running      []*instance
	ending       sync.WaitGroup
	news         int
	most, alive  atomic.Int64
}

// pass lets time go by with news for every process.
func (r *rollouts) pass(d time.Duration, also ...*instance) {
	for range int(d / time.Second) {
		for _, n := range append(append([]*instance(nil), r.running...), also...) {
			r.news++
			n.Notify(denied(fmt.Sprintf("set-%d", r.news)))
			n.Notify(placed(fmt.Sprintf("set-%d", r.news), 0, "node1"))
		}
		r.w.pass(time.Second)
	}
}

func (r *rollouts) once() {
	for range r.replicas {
		fresh := r.w.start()
		r.most.Store(max(r.most.Load(), r.alive.Add(1)))
		r.pass(3*time.Second, fresh)
		old := r.running[0]
		r.running = append(r.running[1:], fresh)
		r.ending.Go(func() {
			time.Sleep(r.drain)
			old.end()
			r.alive.Add(-1)
		})
	}
	r.pass(r.pause)
}

func TestA3ThirtyRolloutsDuringConstantNewsNeverBanTheRobot(t *testing.T) {
	for _, c := range []struct {
		replicas     int
		drain, pause time.Duration
	}{
		{2, 6 * time.Second, 0}, {2, 6 * time.Second, 10 * time.Second}, {2, 6 * time.Second, 25 * time.Second}, {2, 6 * time.Second, 2 * time.Minute},
		{2, 20 * time.Second, 20 * time.Second}, {2, 27 * time.Second, time.Minute}, {1, 20 * time.Second, 5 * time.Second},
		{3, 6 * time.Second, 10 * time.Second}, {3, 6 * time.Second, time.Minute},
	} {
		simulate(t, func(t *testing.T, w *fixture) {
			w.options.AlertRate = 0 // the default
			r := &rollouts{w: w, replicas: c.replicas, drain: c.drain, pause: c.pause}
			for range c.replicas {
				r.running = append(r.running, w.start())
				r.alive.Add(1)
			}
			r.pass(3 * time.Minute) // old processes have their whole share
			begin := time.Now()
			for range 30 {
				r.once()
			}
			took := time.Since(begin)
			r.ending.Wait()
			stats := w.robot.Stats()
			if stats.Bans != 0 || stats.MaxPerWindow > dingtalktest.MaxPerWindow {
				t.Errorf("%+v: %d bans, %d messages in the worst minute", c, stats.Bans, stats.MaxPerWindow)
			}
			if stats.Accepted < 20 {
				t.Errorf("%+v: only %d messages in %v prove nothing", c, stats.Accepted, took)
			}
			t.Logf("30 rollouts of %d replicas in %v, drain %v, at most %d processes together: %d messages, %d in the worst minute, %d bans",
				c.replicas, took, c.drain, r.most.Load(), stats.Accepted, stats.MaxPerWindow, stats.Bans)
		})
	}
}

// Five together is what the share is made for.
func TestA3FiveProcessesTogetherStayWithinTheLimit(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		w.options.AlertRate = 0
		r := &rollouts{w: w}
		for range 5 {
			r.running = append(r.running, w.start())
		}
		r.pass(10 * time.Minute)
		for _, n := range r.running {
			n.Notify(trust(TrustLost)) // what the reserve is for
		}
		r.pass(time.Minute)
		for _, n := range r.running {
			r.ending.Go(n.end)
		}
		r.ending.Wait()
		if stats := w.robot.Stats(); stats.Bans != 0 || stats.MaxPerWindow > dingtalktest.MaxPerWindow || stats.Accepted < 150 {
			t.Errorf("%d bans, %d messages in the worst minute, %d in all", stats.Bans, stats.MaxPerWindow, stats.Accepted)
		}
	})
}

func TestRefusalsDelayPlacementsAndDoNotStarveThem(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		w.options.AlertRate = 0
		n := w.start()
		for minute := range int32(10) {
			n.Notify(placed("quiet", minute, "node1"))
			for range 60 {
				for i := range 3 { // more than three messages a minute can hold
					n.Notify(denied(fmt.Sprintf("set-%d-%d", time.Now().Unix(), i)))
				}
				w.pass(time.Second)
			}
			if got := len(w.placedSum()); got < int(minute)-1 {
				t.Errorf("minute %d: %d placed pods reported beside constant refusals, want at most two to wait", minute, got)
			}
		}
	})
}

func TestTroubleOfOurOwnHasACallInReserve(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		w.options.AlertRate = 0
		n := w.start()
		r := &rollouts{w: w, running: []*instance{n}}
		r.pass(5 * time.Minute)
		for range 5 {
			n.Notify(trust(TrustLost))
			before := strings.Count(w.sent(), "is no longer trusted")
			w.pass(defaultWindow)
			if got := strings.Count(w.sent(), "is no longer trusted") - before; got != 1 {
				t.Errorf("the loss of trust was reported %d times within the window, want once", got)
			}
			n.Notify(trust(TrustRestored))
			r.pass(3 * time.Minute)
		}
	})
}

func TestPaceAllowsAShareInEachWindow(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	for share := 1; share <= robotLimit; share++ {
		for _, reserve := range []bool{false, true} {
			p, now, calls := newPace(share, start), start, []time.Time(nil)
			want := start
			if reserve && share > 1 {
				want = start.Add(rateWindow / time.Duration(share))
			}
			if first := p.free(reserve); !first.Equal(want) {
				t.Errorf("share %d: a new process calls first after %v, want %v", share, first.Sub(start), want.Sub(start))
			}
			for range 5 * share {
				if at := p.free(reserve); at.After(now) {
					now = at
				}
				p.take(now)
				calls = append(calls, now)
			}
			for i := share; i < len(calls); i++ {
				if gap := calls[i].Sub(calls[i-share]); gap < rateWindow {
					t.Errorf("share %d: %d calls within %v", share, share+1, gap)
				}
			}
			if free := p.free(false); reserve && share > 1 && free.After(now) {
				t.Errorf("share %d: no call is in reserve", share)
			}
		}
	}
}
