package rotator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// These tests explore every interleaving of two replicas, the live caBundle and
// an apiserver that lags behind it, over the protocol's own pure functions. Time
// runs in ticks. A view, which is a replica's cache or an apiserver's bundle, is
// out of date for less than --ca-overlap, in which anything else may happen any
// number of times. An action does at most one write, so the exploration stops and
// crashes between any two writes; a write may take effect and its answer be lost.

const (
	tick    = time.Minute
	none    = int8(-1)
	foreign = int8(25) // Z

	caNames = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// secretState is a ring as a comparable value; signer none means that the Secret
// is missing, empty or damaged. Times are in sixteenths of a tick, 0 for never.
type secretState struct {
	signer, other int8
	staged        bool
	overlap       int8 // ticks
	at, stagedAt  int16
}

var gone = secretState{signer: none, other: none}

// bundleState holds the CAs of a caBundle, in order of number.
type bundleState [2]int8

var noBundle = bundleState{none, none}

// view is what somebody last saw of a thing.
type view[T comparable] struct {
	seen  T
	stale bool // it changed since
	late  bool // and before the last tick
}

type replicaState struct {
	memory      secretState
	secret      view[secretState]
	bundle      view[bundleState]
	served      int8 // the CA that signed the served leaf
	ready       bool
	bundleSince int8 // as Rotator.bundleSince, in ticks
}

type world struct {
	now       int8
	fresh     int8 // the next CA
	secret    secretState
	bundle    bundleState
	apiserver view[bundleState]
	replicas  [2]replicaState
	accidents int8 // crashes and damages so far
}

// protocol is what is explored; the broken variants replace one part of it.
type protocol struct {
	judge      func(*ring, sight, time.Time) verdict
	plan       func(ring, request, time.Time) (step, time.Time)
	afterTrust func(step, time.Time, ring, time.Time) time.Time
	serves     func(bundle bundleState, leaf int8) bool
	injects    func(memory, live secretState, now int8) secretState
	// promotesBlindly leaves out the live read of the caBundle in Rotator.take.
	promotesBlindly bool
	// overlap is --ca-overlap in ticks, 1 or 2: two ticks tell apart more
	// moments, at ten times as many worlds.
	overlap int8
}

// horizon is when the rotation that is asked for at once has ended for sure.
func (p protocol) horizon() int8 { return 2*p.overlap + 1 }

func ours() protocol {
	return protocol{
		judge: judge, plan: plan, afterTrust: afterTrust, overlap: 1,
		serves: func(b bundleState, leaf int8) bool { return b.holds(leaf) },
		injects: func(memory, live secretState, now int8) secretState { // as guard.updateConfiguration
			if judge(memory.ring(), sight{secret: live.ring()}, clockAt(now)) == adopt {
				return live
			}
			return memory
		},
	}
}

func clockAt(now int8) time.Time { return epoch.Add(time.Duration(now) * tick) }

func stamp(at int16) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return clockAt(int8(at / 16)).Add(time.Duration(at % 16))
}

func unstamp(t time.Time) int16 {
	if t.IsZero() {
		return 0
	}
	d := t.Sub(epoch)
	return int16(d/tick)*16 + int16(d%tick)
}

func caOf(id int8) ca {
	return ca{id: caNames[id : id+1], created: epoch, expires: epoch.Add(100 * tick)}
}

func (s secretState) ring() *ring {
	if s.signer == none {
		return nil
	}
	r := &ring{signer: caOf(s.signer), staged: s.staged, record: record{At: stamp(s.at), StagedAt: stamp(s.stagedAt), Overlap: duration(time.Duration(s.overlap) * tick)}}
	if s.other != none {
		other := caOf(s.other)
		r.other = &other
	}
	return r
}

func stateOf(r ring) secretState {
	s := secretState{signer: int8(r.signer.id[0] - 'A'), other: none, staged: r.staged, at: unstamp(r.record.At), stagedAt: unstamp(r.record.StagedAt), overlap: int8(time.Duration(r.record.Overlap) / tick)}
	if r.other != nil {
		s.other = int8(r.other.id[0] - 'A')
	}
	return s
}

func (s secretState) bundle() bundleState {
	return bundleState{min(s.signer, s.other), max(s.signer, s.other)}
}

func (b bundleState) holds(id int8) bool { return b[0] == id || b[1] == id }

func (b bundleState) ids() []string {
	var ids []string
	for _, id := range b {
		if id != none {
			ids = append(ids, caOf(id).id)
		}
	}
	return ids
}

func (w *world) writeSecret(s secretState) {
	w.secret = s
	for i := range w.replicas {
		w.replicas[i].secret.stale = true
	}
}

func (w *world) writeBundle(b bundleState) {
	if b == w.bundle {
		return
	}
	w.bundle, w.apiserver.stale = b, true
	for i := range w.replicas {
		w.replicas[i].bundle.stale = true
	}
}

// pass lets a tick pass, unless somebody's view would then be as old as the overlap.
func (w world) pass(p protocol) (world, bool) {
	ok := w.now < p.horizon() && age(&w.apiserver, p)
	for i := range w.replicas {
		r := &w.replicas[i]
		ok = age(&r.secret, p) && age(&r.bundle, p) && ok
	}
	w.now++
	return w, ok
}

func age[T comparable](v *view[T], p protocol) bool {
	tooOld := v.late || v.stale && p.overlap == 1
	v.late = v.stale
	return !tooOld
}

// broken says which Ready replica serves what some apiserver does not verify.
func (w world) broken() string {
	for i, r := range w.replicas {
		for which, b := range [2]bundleState{w.bundle, w.apiserver.seen} {
			if which == 1 && b == noBundle {
				continue // an apiserver that has not seen any caBundle yet refuses everybody
			}
			if r.ready && !b.holds(r.served) {
				return fmt.Sprintf("replica %d serves a leaf of %s, an apiserver's bundle holds %v", i, caOf(r.served).id, b.ids())
			}
		}
	}
	return ""
}

// action is one thing that happens; replica is none for the world around them.
type action struct {
	replica int8
	name    string
}

func (a action) String() string {
	if a.replica == none {
		return a.name
	}
	return fmt.Sprintf("replica %d %s", a.replica, a.name)
}

// explore visits every world reachable from start and returns the trace to the
// first broken one, or "", and the number of worlds.
func explore(start world, p protocol) (string, int) {
	type origin struct {
		from int32
		by   action
	}
	index := map[world]int32{start: 0}
	worlds, came := []world{start}, []origin{{from: -1}}
	for at := 0; at < len(worlds); at++ {
		w := worlds[at]
		if problem := w.broken(); problem != "" {
			trace := []string{problem}
			for i := int32(at); came[i].from >= 0; i = came[i].from {
				trace = append(trace, fmt.Sprintf("tick %d: %s", worlds[i].now, came[i].by))
			}
			slices.Reverse(trace)
			return strings.Join(trace, "\n"), len(worlds)
		}
		w.successors(p, func(by action, next world) {
			if _, seen := index[next]; !seen {
				index[next] = int32(len(worlds))
				worlds, came = append(worlds, next), append(came, origin{int32(at), by})
			}
		})
	}
	return "", len(worlds)
}

// settledFleet is two Ready replicas that remember the same CA.
func settledFleet() world {
	a := firstSecret
	w := world{fresh: 1, secret: a, bundle: a.bundle(), apiserver: view[bundleState]{seen: a.bundle()}}
	for i := range w.replicas {
		w.replicas[i] = replicaState{memory: a, secret: view[secretState]{seen: a}, bundle: view[bundleState]{seen: a.bundle()}, served: a.signer, ready: true}
	}
	return w
}

// newFleet is two replicas at their first start: an empty Secret, no caBundle.
func newFleet() world {
	w := world{secret: gone, bundle: noBundle, apiserver: view[bundleState]{seen: noBundle}}
	for i := range w.replicas {
		w.replicas[i] = replicaState{memory: gone, secret: view[secretState]{seen: gone}, bundle: view[bundleState]{seen: noBundle}, served: none, bundleSince: none}
	}
	return w
}

var firstSecret = secretState{signer: 0, other: none, at: 1}

func TestExploreEveryInterleavingOfARotation(t *testing.T) {
	exploreAll(t, settledFleet())
}

func TestExploreEveryInterleavingOfTheFirstStart(t *testing.T) {
	exploreAll(t, newFleet())
}

func exploreAll(t *testing.T, start world) {
	skipUnderRace(t)
	trace, worlds := explore(start, ours())
	if trace != "" {
		t.Fatalf("after %d worlds:\n%s", worlds, trace)
	}
	t.Logf("%d worlds explored", worlds)
	if worlds < 100_000 {
		t.Errorf("explored %d worlds: the exploration does not reach a whole rotation", worlds)
	}
}

func TestExploreFindsACounterexampleWhen(t *testing.T) {
	skipUnderRace(t)
	for name, c := range map[string]struct {
		start   world
		breakIt func(*protocol)
	}{
		"a leaf is served although the caBundle does not verify it": {newFleet(), func(p *protocol) {
			p.serves = func(bundleState, int8) bool { return true }
		}},
		"the new CA signs as soon as it is staged": {settledFleet(), func(p *protocol) {
			p.plan = atOnce(stepPromote)
			p.afterTrust = promoteUnseen
		}},
		"the old CA is dropped as soon as the new one signs": {settledFleet(), func(p *protocol) {
			p.plan = atOnce(stepRetire)
		}},
		"the promotion does not wait for the caBundle": {settledFleet(), func(p *protocol) {
			p.afterTrust = promoteUnseen
		}},
		"the promotion trusts a cached caBundle": {settledFleet(), func(p *protocol) {
			p.promotesBlindly, p.overlap = true, 2
		}},
		"whatever the Secret holds is adopted": {settledFleet(), func(p *protocol) {
			p.judge = func(_ *ring, seen sight, _ time.Time) verdict {
				if seen.secret == nil {
					return wait
				}
				return adopt
			}
		}},
		"a replica that starts believes any Secret": {settledFleet(), func(p *protocol) {
			p.judge = func(m *ring, seen sight, now time.Time) verdict {
				seen.bundle = nil
				return judge(m, seen, now)
			}
		}},
		"a replica injects what it remembers, however old": {settledFleet(), func(p *protocol) {
			p.injects = func(memory, _ secretState, _ int8) secretState { return memory }
			p.overlap = 2
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := ours()
			c.breakIt(&p)
			trace, worlds := explore(c.start, p)
			if trace == "" {
				t.Fatalf("no counterexample in %d worlds: this part of the protocol is needless, or the exploration too small", worlds)
			}
			t.Logf("%d worlds, then:\n%s", worlds, trace)
		})
	}
}

func atOnce(which step) func(ring, request, time.Time) (step, time.Time) {
	return func(r ring, q request, now time.Time) (step, time.Time) {
		s, due := plan(r, q, now)
		if s == which {
			return s, now
		}
		return s, due
	}
}

func promoteUnseen(_ step, due time.Time, _ ring, _ time.Time) time.Time { return due }

// skipUnderRace keeps the exploration, one goroutine and millions of maps, out of
// the race detector's way; "make test" runs it without.
func skipUnderRace(t *testing.T) {
	if underRace {
		t.Skip("NOT RUN under the race detector, which makes it ten times slower; make test runs it without")
	}
}
