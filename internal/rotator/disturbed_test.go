package rotator

import (
	"net/http"
	"testing"
	"time"
)

func TestARolloutToANewerFormatAndBack(t *testing.T) {
	t.Parallel()
	bubble(t, short.every(6*time.Hour), func(f *fleet) {
		format := func(n int) func(*replica, *Options) {
			return func(p *replica, _ *Options) { p.format = n }
		}
		rollOut := func(n int) {
			for _, old := range f.running() {
				f.start(format(n))
				time.Sleep(20 * time.Second)
				f.stop(old)
				time.Sleep(20 * time.Second)
			}
		}
		for range 3 {
			f.start(format(1))
		}
		time.Sleep(time.Minute)
		f.start(format(2)) // both formats side by side
		f.request(request{ID: "old and new"})
		time.Sleep(time.Minute)
		time.Sleep(2 * day)
		f.request(request{ID: "and the newer has written", Distrust: true})
		f.editSecret("kubectl", damageLeaf)
		time.Sleep(time.Minute)
		f.stop(f.running()[3])
		rollOut(2)
		f.request(request{ID: "new alone"})
		time.Sleep(time.Minute)
		if rec := f.record(); rec.Format != 2 || rec.Request != "new alone" {
			t.Errorf("after the rollout the record is %+v", rec)
		}
		time.Sleep(2 * day)
		rollOut(1)
		f.request(request{ID: "old again"})
		time.Sleep(2 * day)
		f.settled()
		if rec := f.record(); rec.Format != 1 || rec.Request != "old again" {
			t.Errorf("after the rollback the record is %+v", rec)
		}
		f.atMost(20, 0)
	})
}

// Rule 7: the node's clock may be as wrong as it likes.
func TestAWrongClockOfANodeBreaksNothing(t *testing.T) {
	t.Parallel()
	for name, offset := range map[string]time.Duration{"ten minutes ahead": 10 * time.Minute, "three days behind": -3 * day, "a year ahead": 365 * day} {
		t.Run(name, func(t *testing.T) {
			bubble(t, short.every(12*time.Hour), func(f *fleet) {
				wrong := f.start(func(_ *replica, o *Options) { o.Now = func() time.Time { return time.Now().Add(offset) } })
				time.Sleep(10 * time.Second) // it makes the first CA
				f.start()
				time.Sleep(7 * day) // one renewal
				f.request(request{ID: "rotate"})
				time.Sleep(2 * day)
				f.settled()
				f.atMost(3+1+4, 0)
				if n := len(f.reported("ClockSkew")); n != 1 {
					t.Errorf("ClockSkew was reported %d times, want once", n)
				}
				if skew := wrong.clock.Skew(); (skew - offset).Abs() > 2*dateResolution {
					t.Errorf("skew %s, want %s", skew, offset)
				}
			})
		})
	}
}

func TestAReplicaIsCutOffThroughADistrust(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		away   time.Duration
		broken fault
		check  time.Duration
	}{
		"refused for two minutes":    {2 * time.Minute, refused, 20 * time.Second},
		"silent for two minutes":     {2 * time.Minute, hanging, 20 * time.Second},
		"silent for more than a day": {25 * time.Hour, hanging, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, defaults.every(c.check), func(f *fleet) {
				f.startAll(3)
				cut := f.running()[0]
				leaked := cut.memory.Load().trusted[0].id
				before := f.versions()
				cut.link.cut(c.broken)
				time.Sleep(time.Second)
				f.request(request{ID: "leaked", Distrust: true})
				time.Sleep(c.away)
				if lines := cut.logged(cannotRead.message); c.away > c.check && len(lines) != 1 {
					t.Errorf("it said %d times that it cannot read: %v", len(lines), lines)
				}
				f.delete(secretPath) // whoever is back first may be the one that was away
				cut.link.heal()
				f.settled()
				for _, ca := range f.running()[1].memory.Load().trusted {
					if ca.id == leaked {
						t.Error("the distrusted CA came back")
					}
				}
				f.atMost(4, before) // the distrust, its caBundle, and the deleted Secret
			})
		})
	}
}

// After a restart of the apiserver client-go waits up to half a minute before it
// watches again. A distrust gives the other replicas less than half a second.
func TestADistrustIsSeenWithoutAWatch(t *testing.T) {
	t.Parallel()
	bubble(t, defaults.every(20*time.Second), func(f *fleet) {
		f.startAll(3)
		blind := f.running()[0]
		blind.link.cut(func(req *http.Request) (*http.Response, error) { // reads go on
			if req.URL.Query().Get("watch") != "" {
				return refused(req)
			}
			return nil, nil
		})
		blind.link.mu.Lock()
		blind.link.upAt = time.Now() // the promise holds for it
		blind.link.mu.Unlock()
		time.Sleep(3 * time.Second)
		f.request(request{ID: "leaked", Distrust: true})
		time.Sleep(10 * time.Second)
		blind.link.heal()
		f.settled()
	})
}

func TestWatchEventsComeLate(t *testing.T) {
	t.Parallel()
	bubble(t, short.every(time.Hour), func(f *fleet) {
		f.startAll(3)
		before := f.versions()
		for i, p := range f.running() {
			p.link.mu.Lock()
			p.link.lag = []time.Duration{0, 10 * time.Second, 200 * time.Millisecond}[i]
			p.link.mu.Unlock()
		}
		f.request(request{ID: "rotate"})
		time.Sleep(25 * time.Hour)
		f.settled()
		f.atMost(4, before)
		if repairs := append(f.reported("SecretRestored"), f.reported("CABundleRepaired")...); len(repairs) > 0 {
			t.Errorf("repairs by those that were behind: %v", repairs)
		}
	})
}

// M4: the first edition waited for a calm caBundle, for ever.
func TestACABundlePutBackAllTheTimeDoesNotHoldUpARotation(t *testing.T) {
	t.Parallel()
	bubble(t, short.every(time.Hour), func(f *fleet) {
		f.startAll(2)
		before, old := f.versions(), f.bundle()
		f.request(request{ID: "rotate"})
		time.Sleep(10 * time.Second)
		fights := 0
		for end := f.now().Add(20 * time.Minute); f.now().Before(end); fights++ {
			time.Sleep(30 * time.Second)
			f.setBundle("gitops", old)
			f.exempt(false) // what a GitOps tool puts back still has to verify us
		}
		time.Sleep(day)
		f.settled()
		reported := f.reported("RepairRecurs") // each is noted on the Secret, for the other replicas
		if len(reported) == 0 || len(reported) > 2 {
			t.Errorf("reported %d times in 20 minutes that a repair recurs, want once in ten: %v", len(reported), reported)
		}
		f.atMost(4+fights+len(reported), before)
		if n := len(f.reported("CARotated")) + len(f.reported("CARetired")); n != 2 {
			t.Errorf("%d steps of one rotation, want 2", n)
		}
	})
}
