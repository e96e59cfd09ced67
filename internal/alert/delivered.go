package alert

import (
	"maps"
	"slices"
	"time"
)

// split prepares the lines of a message whose content was refused for messages half
// as long, so that one line cannot silence the others. It reports false for a single
// line, which is the one to give up.
func (q *queue) split(b batch) bool {
	for _, e := range b.entries {
		e.line.maxBatch = max(1, len(b.entries)/2)
	}
	return len(b.entries) > 1
}

// delivered takes what a message reported out of those that wait, and remembers it, so that
// it is not reported again too soon. With accepted unset it was given up.
func (q *queue) delivered(b batch, now time.Time, accepted bool) {
	q.dropped -= b.dropped
	for _, e := range b.entries {
		switch {
		case b.category == placements:
			q.placementsDelivered(e, now)
		case e.line.count == 0: // it was dropped meanwhile
		case b.category == own:
			q.ownDelivered(e, now)
		default:
			q.denialDelivered(e, now, accepted)
		}
	}
	if !accepted {
		q.dropped += b.dropped
		for _, e := range b.entries {
			q.dropped += e.events()
		}
	}
}

func (q *queue) ownDelivered(e entry, now time.Time) {
	l, s := e.line, e.line.state
	later := l.count - e.count
	q.dequeue(l, own)
	if s.waiting == l {
		s.waiting, s.sentAt, s.repeats = nil, now, later
	}
}

func (q *queue) denialDelivered(e entry, now time.Time, accepted bool) {
	l := e.line
	l.repeats += l.count - e.count - e.repeats
	q.dequeue(l, denials)
	l.sentAt = now
	if i := q.incidents[setKey{l.key.namespace, l.key.statefulSet}]; i != nil && &i.recovery == l {
		for _, old := range i.lines { // the same mistake is news again
			if old.sentAt = (time.Time{}); old.count == 0 {
				delete(q.lines, old.key)
			}
		}
		delete(q.incidents, setKey{l.key.namespace, l.key.statefulSet})
		return
	}
	if l.key.reason == Recovered {
		return
	}
	if accepted {
		l.maxBatch = 0
	}
	if l.key.reason == MoreDenied || len(q.lines) > 2*q.limits.lines {
		delete(q.lines, l.key)
	}
}

func (q *queue) placementsDelivered(e entry, now time.Time) {
	l := e.line
	for _, ordinal := range e.ordinals {
		if _, waits := l.ordinals[ordinal]; !waits {
			continue
		}
		delete(l.ordinals, ordinal)
		q.ordinals--
		if _, known := l.sent[ordinal]; !known {
			if q.remembered >= q.limits.ordinals {
				continue
			}
			q.remembered++
		}
		l.sent[ordinal] = now
	}
	if len(l.ordinals) > 0 {
		return
	}
	q.dequeue(l, placements)
	l.sentAt = now
	if len(l.sent) == 0 || len(q.placed) > 2*q.limits.lines {
		q.remembered -= len(l.sent)
		delete(q.placed, placeOf(l.key))
	}
}

// forget drops the memory of what was reported too long ago to make a repeat. A line that
// was repeated is kept once as long again, for the count.
func (q *queue) forget(now time.Time) {
	for at, l := range q.placed {
		for ordinal, at := range l.sent {
			if now.Sub(at) >= q.repeatAfter {
				delete(l.sent, ordinal)
				q.remembered--
			}
		}
		if len(l.ordinals)+len(l.sent) == 0 {
			delete(q.placed, at)
		}
	}
	for key, l := range q.lines {
		keep := q.repeatAfter
		if l.repeats > 0 || l.maxBatch > 0 {
			keep *= 2
		}
		if l.count == 0 && now.Sub(l.sentAt) >= keep {
			delete(q.lines, key)
		}
	}
	for topic, s := range q.states {
		if endOf[s.reason] == "" && s.waiting == nil && now.Sub(s.sentAt) >= 2*q.repeatAfter {
			delete(q.states, topic)
		}
	}
	for set, i := range q.incidents {
		if i.recovery.count == 0 && now.Sub(i.last) >= incidentAge {
			delete(q.incidents, set)
		}
	}
}

// clear forgets everything but the states that hold: nobody listens. A robot that
// comes later is sent what is wrong then.
func (q *queue) clear() {
	fresh := newQueue(q.limits)
	fresh.wakeBefore = q.wakeBefore
	for topic, s := range q.states {
		if endOf[s.reason] == "" {
			continue
		}
		fresh.states[topic] = s
		if s.waiting != nil {
			fresh.waiting[own] = append(fresh.waiting[own], s.waiting)
		}
	}
	*q = *fresh
}

// restrict forgets what is not of these namespaces, the webhook's own lines included.
func (q *queue) restrict(only map[string]bool) {
	for c := own; c < categories; c++ {
		for _, l := range slices.Clone(q.waiting[c]) {
			if !only[l.key.namespace] {
				q.ordinals -= len(l.ordinals)
				q.dequeue(l, c)
			}
		}
	}
	maps.DeleteFunc(q.lines, func(k lineKey, _ *line) bool { return !only[k.namespace] })
	maps.DeleteFunc(q.placed, func(k placeKey, l *line) bool {
		if !only[k.namespace] {
			q.remembered -= len(l.sent)
		}
		return !only[k.namespace]
	})
	maps.DeleteFunc(q.incidents, func(k setKey, _ *incident) bool { return !only[k.namespace] })
	clear(q.states)
}
