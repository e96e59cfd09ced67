package rotator

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// short is a life of months instead of years.
var short = Policy{CADuration: 90 * day, CertDuration: 9 * day, CAOverlap: day, RotationCheck: day}

// bubble runs a story in virtual time: it takes as long as its work, not its years.
func bubble(t *testing.T, p Policy, story func(f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { inBubble(t, p, story) })
}

func inBubble(t *testing.T, p Policy, story func(f *fleet)) {
	f := newFleet(t, p)
	stop := f.trust.watch(max(time.Minute, p.RotationCheck/100))
	defer func() {
		stop()
		f.stopAll()
		t.Logf("%.1f days, %d writes, trust checked %d times", time.Since(epoch).Hours()/24, len(f.writesSince(0)), f.trust.checks)
	}()
	story(f)
}

// atMost fails if replicas have written more often since version n than the steps
// that were due take.
func (f *fleet) atMost(writes, n int) {
	f.t.Helper()
	if got := len(f.writesSince(n)); got > writes {
		f.t.Errorf("%d writes, want at most %d", got, writes)
	}
}

func (f *fleet) startAll(n int) {
	for range n {
		f.start()
	}
	time.Sleep(time.Minute)
}

func TestYearsOfDefaultLife(t *testing.T) {
	t.Parallel()
	bubble(t, defaults.every(defaults.CertDuration/6), func(f *fleet) {
		f.startAll(3)
		time.Sleep(25 * 365 * day)
		f.settled()
		// To create takes three writes, each of the three rotations four, and the 34 renewals one each.
		f.atMost(3+3*4+34, 0)
		if n := len(f.reported("CARotated")); n != 3 {
			t.Errorf("%d rotations, want 3", n)
		}
	})
}

// H1: the first edition never renewed again once the flags did not fit the CA.
func TestFlagsChangedUnderWay(t *testing.T) {
	t.Parallel()
	bubble(t, short, func(f *fleet) {
		rollOut := func(p Policy) {
			f.policy = p
			for _, old := range f.running() { // one after the other, so two policies run side by side
				f.start()
				time.Sleep(time.Hour)
				f.stop(old)
			}
		}
		f.startAll(2)
		time.Sleep(70 * day) // one rotation
		rollOut(defaults.every(10 * day))
		time.Sleep(70 * day) // the CA of 90 days has ended before ten years are over
		f.settled()
		rollOut(short)
		time.Sleep(10 * day) // a CA of ten years is too old for 90 days only after 60
		f.settled()
		f.atMost(60, 0)
		for _, p := range f.running() {
			if cert := p.serving.Load(); cert.Leaf.NotAfter.Sub(f.now()) > short.CertDuration {
				t.Errorf("%s serves a certificate for %s, want at most %s", p.name, cert.Leaf.NotAfter.Sub(f.now()), short.CertDuration)
			}
		}
	})
}

// snapshot is the state of a cluster at one time of its life.
type snapshot struct {
	at             time.Time
	secret, config map[string]any
}

func (f *fleet) snapshot() snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	object := func(path string) map[string]any {
		if i, ok := f.current[path]; ok {
			return decode(f.log[i].json)
		}
		return nil
	}
	return snapshot{f.now(), object(secretPath), object(configPath)}
}

// resume lets a new cluster go on where another one was.
func (f *fleet) resume(s snapshot) {
	time.Sleep(time.Until(s.at))
	for path, obj := range map[string]map[string]any{secretPath: s.secret, configPath: s.config} {
		if obj != nil {
			delete(obj["metadata"].(map[string]any), "resourceVersion")
			f.store(path, "", "", false, func(map[string]any) map[string]any { return merge(nil, obj) })
		}
	}
}

// stages are the moments of a life at which a cluster may be switched off, each with
// what leads to it from the one before.
var stages = []struct {
	name string
	lead func(f *fleet)
}{
	{"before the first caBundle", func(f *fleet) {
		for _, p := range f.running() {
			p.link.refuse(writes(hanging, configPath))
		}
		time.Sleep(time.Minute)
	}},
	{"settled", func(f *fleet) {
		for _, p := range f.running() {
			p.link.heal()
		}
		time.Sleep(time.Minute)
	}},
	{"after a renewal", func(f *fleet) { time.Sleep(defaults.CertDuration) }},
	{"rotated, before the caBundle follows", func(f *fleet) {
		for _, p := range f.running() {
			p.link.refuse(writes(hanging, configPath))
		}
		f.request(request{ID: "rotate"})
		time.Sleep(time.Minute)
	}},
	{"before the old CA is retired", func(f *fleet) {
		for _, p := range f.running() {
			p.link.heal()
		}
		time.Sleep(time.Minute)
	}},
	{"distrusted, before the caBundle follows", func(f *fleet) {
		for _, p := range f.running() {
			p.link.refuse(writes(hanging, configPath))
		}
		f.request(request{ID: "distrust", Distrust: true})
		time.Sleep(time.Minute)
	}},
}

func TestSwitchedOff(t *testing.T) {
	t.Parallel()
	taken := make([]snapshot, len(stages))
	bubble(t, defaults.every(10*day), func(f *fleet) {
		f.start(func(p *replica, _ *Options) { p.link.refuse(writes(hanging, configPath)) })
		f.start(func(p *replica, _ *Options) { p.link.refuse(writes(hanging, configPath)) })
		for i, stage := range stages {
			stage.lead(f)
			taken[i] = f.snapshot()
		}
	})
	for i, stage := range stages {
		for _, days := range []int{1, 30, 400, 20 * 365} {
			t.Run(fmt.Sprintf("%s, for %d days", stage.name, days), func(t *testing.T) {
				bubble(t, defaults.every(10*day), func(f *fleet) {
					f.resume(taken[i])
					time.Sleep(time.Duration(days) * day)
					off := f.versions()
					begin := f.now()
					f.startAll(2)
					for _, p := range f.running() {
						if err := p.Ready(); err != nil {
							t.Errorf("%s a minute after the cluster was switched on: %v", p.name, err)
						}
					}
					time.Sleep(3 * day)
					f.settled()
					// A CA, its caBundle, its retirement, the caBundle again, a renewal.
					f.atMost(5, off)
					if signer := f.running()[0].memory.Load().trusted[0]; days == 20*365 == signer.created.Before(begin.Add(-time.Second)) {
						t.Errorf("after %d days the CA is from %s", days, signer.created)
					}
				})
			})
		}
	}
}

// H1 as it was: 90 days of life, a month switched off.
func TestAnExpiredCAIsReplacedAtTheNextStart(t *testing.T) {
	t.Parallel()
	bubble(t, short, func(f *fleet) {
		f.startAll(2)
		f.stopAll()
		time.Sleep(100 * day)
		off := f.versions()
		f.startAll(2)
		f.settled()
		f.atMost(2, off)
	})
}

func TestWritesRefusedForHoursWhileSomethingIsDue(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lasts      time.Duration
		begin, end func(f *fleet)
	}{
		"forbidden": {15 * time.Minute, refuseAll(writes(forbidden, "/")), healAll},
		"etcd full": {time.Hour, refuseAll(writes(etcdFull, "/")), healAll},
		"no answer": {15 * time.Minute, refuseAll(writes(hanging, "/")), healAll},
		"an immutable Secret, deleted in the end": {15 * time.Minute,
			func(f *fleet) {
				f.editSecret("kubectl", func(s *corev1.Secret) { s.Immutable = new(bool); *s.Immutable = true })
			},
			func(f *fleet) { f.delete(secretPath) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, short, func(f *fleet) {
				f.startAll(2)
				time.Sleep(6*day - 10*time.Minute)
				c.begin(f)
				before := f.versions()
				time.Sleep(10*time.Minute + c.lasts) // the certificate falls due after six days
				for _, p := range f.running() {
					if err := p.Ready(); err != nil {
						t.Errorf("%s: %v", p.name, err)
					}
					if overdue := p.Overdue(); overdue < c.lasts || overdue > c.lasts+2*time.Minute {
						t.Errorf("%s: overdue for %s, want %s", p.name, overdue, c.lasts)
					}
				}
				if n := len(f.reported("WriteRefused")); n != 2 {
					t.Errorf("WriteRefused was reported %d times, want once by each replica", n)
				}
				f.atMost(0, before)
				c.end(f)
				f.settled()
				f.atMost(3, before) // the renewal; if the Secret was deleted, it is created and filled before
				if n := len(f.reported("WriteSucceeded")); n < 1 {
					t.Errorf("WriteSucceeded was reported %d times", n)
				}
			})
		})
	}
}

func refuseAll(broken fault) func(*fleet) {
	return func(f *fleet) {
		for _, p := range f.running() {
			p.link.refuse(broken)
		}
	}
}

func healAll(f *fleet) {
	for _, p := range f.running() {
		p.link.heal()
	}
}
