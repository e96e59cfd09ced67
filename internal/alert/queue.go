package alert

import (
	"slices"
	"time"
)

// category is what one message is about; messages never mix categories. Lower ones
// are sent first.
type category int

const (
	own        category = iota // the webhook itself: trust, clock, certificates, its life
	denials                    // pods that were refused, and StatefulSets that recovered
	placements                 // pods that were placed
	categories
)

// line is one piece of news: events that are reported together in one line. It stays
// for a while after it was reported, to recognise repeats.
type line struct {
	key         lineKey
	count       int                // events that wait to be reported; 0: the line does not wait
	repeats     int                // events since it was reported that were only counted
	first, last time.Time          // of the events that wait
	due         time.Time          // when the line may be sent
	sentAt      time.Time          // zero: never
	lasted      time.Duration      // for the end of a state: how long it was; 0 is unknown
	maxBatch    int                // lines that a message with this one may have; 0: any. See split
	ordinals    map[int32]struct{} // Placed only: those that wait
	sent        map[int32]time.Time
	state       *state // of the webhook's own
}

// events returns how many events wait in the line.
func (l *line) events() int {
	if l.key.kind == Placed {
		return len(l.ordinals)
	}
	return l.count
}

// state is what was last heard of one topic of the webhook itself.
type state struct {
	reason  string
	since   time.Time // when the reason was heard first
	sentAt  time.Time // when it was reported last; zero: not yet
	repeats int
	waiting *line // the newest line; nil once it was reported
}

// incident is a StatefulSet whose pods are refused.
type incident struct {
	since, last time.Time // of its refusals
	lines       []*line   // that were reported or wait; forgotten once it recovered
	recovery    line      // waits while its count is not 0
}

// placeKey is where pods of a StatefulSet were placed. It is small, because every placed
// pod is looked up by it.
type placeKey struct{ namespace, statefulSet, key, value string }

// setKey is a StatefulSet.
type setKey struct{ namespace, name string }

// limits bound the queue. They are fixed when the queue is made.
type limits struct {
	lines       int // of each category that wait, and of those that are remembered
	ordinals    int // that wait, and that are remembered
	window      time.Duration
	repeatAfter time.Duration
}

const (
	// maxOwnLines bounds the webhook's own lines; the oldest goes first, so that the
	// state of now is always reported.
	maxOwnLines = 64
	// A namespace's lines are bounded, so that it cannot push out another's. Further
	// denials are counted in one line, further placements are dropped.
	maxDenialsPerNamespace    = 50
	maxPlacementsPerNamespace = 500
	// recoverAfter is how long a StatefulSet must not have been refused again after
	// one of its pods was placed, to be reported as recovered. Its pods may be of two
	// revisions, of which one is wrong.
	recoverAfter = 30 * time.Second
	// incidentAge is when a StatefulSet that is neither refused nor placed any more is
	// forgotten.
	incidentAge = 24 * time.Hour
)

// queue holds what waits to be reported to one robot and remembers what was. It is not
// safe for concurrent use.
type queue struct {
	limits
	lines        map[lineKey]*line           // of refusals, waiting or remembered
	placed       map[placeKey]*line          // of placements, waiting or remembered
	waiting      [categories][]*line         // in order of arrival
	perNamespace [categories]namespaceCounts // waiting lines by namespace
	states       map[lineKey]*state          // of the webhook's own topics
	incidents    map[setKey]*incident        // of denied StatefulSets
	ordinals     int                         // that wait, over all lines
	remembered   int                         // ordinals, over all lines
	dropped      int                         // events refused for lack of space, not reported yet
	wakeBefore   time.Time                   // when the sender looks again
	early        bool                        // a line came that is due before that
}

type namespaceCounts map[string]int

func newQueue(l limits) *queue {
	q := &queue{limits: l, lines: map[lineKey]*line{}, placed: map[placeKey]*line{}, states: map[lineKey]*state{}, incidents: map[setKey]*incident{}}
	for c := range q.perNamespace {
		q.perNamespace[c] = namespaceCounts{}
	}
	return q
}

// outcome is what became of an event.
type outcome int

const (
	queued   outcome = iota
	repeated         // reported a short while ago: only counted
	refused          // no room: dropped, and counted
)

// add takes one event. It allocates nothing for an event that is known already.
func (q *queue) add(e Event, now time.Time) outcome {
	switch e.Kind {
	case Denied:
		return q.addDenied(e, now)
	case Placed:
		return q.addPlaced(e, now)
	}
	return q.addOwn(e, now)
}

// addOwn takes an event of the webhook itself. A state is news at every change and a
// repeat only as the same state again; what is no state is a repeat with the same
// details.
func (q *queue) addOwn(e Event, now time.Time) outcome {
	key := keyOf(e)
	topic := topicOf(key)
	s := q.states[topic]
	if s == nil {
		s = &state{}
		q.states[topic.clone()] = s
	}
	if s.reason == key.reason {
		if s.waiting != nil {
			s.waiting.merge(now)
			return queued
		}
		if now.Sub(s.sentAt) < q.repeatAfter {
			s.repeats++
			return repeated
		}
	}
	l := &line{key: key.clone(), state: s, repeats: s.repeats}
	if s.reason != key.reason {
		l.repeats = 0
		if s.reason == beginOf[key.reason] && s.reason != "" {
			l.lasted = now.Sub(s.since)
		}
		s.reason, s.since = l.key.reason, now
	}
	s.waiting = l
	became := queued
	if len(q.waiting[own]) >= maxOwnLines {
		q.drop(q.waiting[own][0])
		became = refused // an older one, in place of this
	}
	q.enqueue(l, own, now, q.window)
	return became
}

// topicOf is what states are distinguished by: both ends of a state are one topic.
func topicOf(k lineKey) lineKey {
	if !isState(k.reason) {
		return k
	}
	begin := k.reason
	if b := beginOf[k.reason]; b != "" {
		begin = b
	}
	return lineKey{kind: k.kind, reason: begin, details: Details{Object: k.details.Object}}
}

// merge counts one more event in a line that waits.
func (l *line) merge(now time.Time) {
	l.count++
	l.last = now
}

// wait puts a line that does not wait at the end of its category, to be sent after d.
func (q *queue) enqueue(l *line, c category, now time.Time, d time.Duration) {
	l.count, l.first, l.last, l.due = 1, now, now, now.Add(d)
	q.waiting[c] = append(q.waiting[c], l)
	q.early = q.early || l.due.Before(q.wakeBefore)
	if l.key.namespace != "" {
		q.perNamespace[c][l.key.namespace]++
	}
}

// dequeue takes a line out of those that wait, if it is one.
func (q *queue) dequeue(l *line, c category) {
	if l.count == 0 {
		return
	}
	l.count = 0
	at := slices.Index(q.waiting[c], l)
	q.waiting[c] = slices.Delete(q.waiting[c], at, at+1)
	if n := l.key.namespace; n != "" {
		if q.perNamespace[c][n]--; q.perNamespace[c][n] == 0 {
			delete(q.perNamespace[c], n)
		}
	}
}

// drop gives up one of the webhook's own lines.
func (q *queue) drop(l *line) {
	q.dropped += l.count
	if l.state.waiting == l {
		l.state.waiting = nil
	}
	q.dequeue(l, own)
}

// length returns how many lines wait.
func (q *queue) length() (n int) {
	for _, lines := range q.waiting {
		n += len(lines)
	}
	return n
}

// events returns how many events of a category wait.
func (q *queue) events(c category) (n int) {
	for _, l := range q.waiting[c] {
		n += l.events()
	}
	return n
}
