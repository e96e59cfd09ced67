package alert

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// maxBatchLines is how many lines one message has, so that title, advice and footer
// fit on a phone beside them.
const maxBatchLines = 12

// batch is what one message tells.
type batch struct {
	category category
	entries  []entry
	follow   int // events of the category that wait for a later message
	lost     int // events of the category that no message will tell, because the process ends
	dropped  int // events given up for lack of space since the last message
}

// entry is a copy of a line at the moment when a message was made. The line may
// change meanwhile.
type entry struct {
	line           *line
	key            lineKey
	count, repeats int
	first, last    time.Time
	lasted         time.Duration
	ordinals       []int32 // Placed only
	now            string  // for a state: the reason that holds now
	nowSince       time.Time
}

// events returns how many events the entry tells.
func (e entry) events() int {
	if e.key.kind == Placed {
		return len(e.ordinals)
	}
	return e.count
}

// next returns when the next line of a category is due; false if none waits.
func (q *queue) next(c category) (time.Time, bool) {
	if len(q.waiting[c]) == 0 {
		return time.Time{}, false
	}
	return slices.MinFunc(q.waiting[c], func(a, b *line) int { return a.due.Compare(b.due) }).due, true
}

// pick copies what the next message of the category tells. Lines that are not due
// join, but for recoveries, unless it is the last message.
func (q *queue) pick(c category, now time.Time, last bool) batch {
	lines := slices.Clone(q.waiting[c])
	if !last {
		lines = slices.DeleteFunc(lines, func(l *line) bool { return l.key.reason == Recovered && l.due.After(now) })
	}
	if c != own {
		lines = q.inTurn(lines)
	}
	b := batch{category: c, dropped: q.dropped}
	limit := maxBatchLines
	if c == own {
		limit = maxOwnBatchLines
	}
	for _, l := range together(lines, limit) {
		e := entry{line: l, key: l.key, count: l.count, repeats: l.repeats, first: l.first, last: l.last, lasted: l.lasted}
		e.ordinals = slices.Collect(maps.Keys(l.ordinals))
		if l.state != nil && isState(l.key.reason) {
			e.now, e.nowSince = l.state.reason, l.state.since
		}
		b.entries = append(b.entries, e)
	}
	b.count(q.events(c), last)
	return b
}

// count notes how many events of the waiting ones are not in the batch.
func (b *batch) count(waiting int, last bool) {
	for _, e := range b.entries {
		waiting -= e.events()
	}
	b.follow = waiting
	if last {
		b.follow, b.lost = 0, waiting
	}
}

// inTurn puts recoveries behind refusals and gives the namespaces turns: the first
// line of each, then the second of each.
func (q *queue) inTurn(lines []*line) []*line {
	type place struct{ recovered, turn int }
	places, turns := make(map[*line]place, len(lines)), spaces{}
	for _, l := range lines {
		p := place{turn: turns[l.key.namespace]}
		if turns[l.key.namespace]++; l.key.reason == Recovered {
			p.recovered = 1
		}
		places[l] = p
	}
	slices.SortStableFunc(lines, func(a, b *line) int {
		return cmp.Or(places[a].recovered-places[b].recovered, places[a].turn-places[b].turn)
	})
	return lines
}

// together returns the first lines, at most limit, that may share a message. Lines of a message whose
// content was refused come after all others and among themselves.
func together(lines []*line, limit int) []*line {
	suspect := func(l *line) bool { return l.maxBatch > 0 }
	sound := slices.DeleteFunc(slices.Clone(lines), suspect)
	if len(sound) > 0 {
		return sound[:min(len(sound), limit)]
	}
	for i, l := range lines {
		if limit = min(limit, l.maxBatch); i >= limit {
			return lines[:i]
		}
	}
	return lines
}

// split prepares the lines of a message whose content was refused for messages half
// as long, so that one line cannot silence the others. It reports false for a single
// line, which is the one to give up.
func (q *queue) split(b batch) bool {
	for _, e := range b.entries {
		e.line.maxBatch = max(1, len(b.entries)/2)
	}
	return len(b.entries) > 1
}

// settle takes what a message told out of those that wait, and remembers it, so that
// it is not told again too soon. With accepted unset it was given up.
func (q *queue) settle(b batch, now time.Time, accepted bool) {
	q.dropped -= b.dropped
	for _, e := range b.entries {
		switch {
		case b.category == placements:
			q.settlePlaced(e, now)
		case e.line.count == 0: // it was dropped meanwhile
		case b.category == own:
			q.settleOwn(e, now)
		default:
			q.settleDenied(e, now, accepted)
		}
	}
	if !accepted {
		q.dropped += b.dropped
		for _, e := range b.entries {
			q.dropped += e.events()
		}
	}
}

func (q *queue) settleOwn(e entry, now time.Time) {
	l, s := e.line, e.line.state
	later := l.count - e.count
	q.unwait(l, own)
	if s.waiting == l {
		s.waiting, s.toldAt, s.repeats = nil, now, later
	}
}

func (q *queue) settleDenied(e entry, now time.Time, accepted bool) {
	l := e.line
	l.repeats += l.count - e.count - e.repeats
	q.unwait(l, denials)
	l.toldAt = now
	if i := q.incidents[setKey{l.key.namespace, l.key.statefulSet}]; i != nil && &i.recovery == l {
		for _, old := range i.lines { // the same mistake is news again
			if old.toldAt = (time.Time{}); old.count == 0 {
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
	if l.key.reason == MoreDenied || len(q.lines) > 3*q.limits.lines {
		delete(q.lines, l.key)
	}
}

func (q *queue) settlePlaced(e entry, now time.Time) {
	l := e.line
	for _, ordinal := range e.ordinals {
		if _, waits := l.ordinals[ordinal]; !waits {
			continue
		}
		delete(l.ordinals, ordinal)
		q.ordinals--
		if _, known := l.told[ordinal]; !known {
			if q.remembered >= q.limits.ordinals {
				continue
			}
			q.remembered++
		}
		l.told[ordinal] = now
	}
	if len(l.ordinals) > 0 {
		return
	}
	q.unwait(l, placements)
	l.toldAt = now
	if len(l.told) == 0 || len(q.lines) > 3*q.limits.lines {
		q.remembered -= len(l.told)
		delete(q.lines, l.key)
	}
}

// forget drops the memory of what was told too long ago to make a repeat. A line that
// was repeated is kept once as long again, for the count.
func (q *queue) forget(now time.Time) {
	for key, l := range q.lines {
		for ordinal, at := range l.told {
			if now.Sub(at) >= q.repeatAfter {
				delete(l.told, ordinal)
				q.remembered--
			}
		}
		keep := q.repeatAfter
		if l.repeats > 0 || l.maxBatch > 0 {
			keep *= 2
		}
		if l.count == 0 && len(l.told) == 0 && now.Sub(l.toldAt) >= keep {
			delete(q.lines, key)
		}
	}
	for topic, s := range q.states {
		if endOf[s.reason] == "" && s.waiting == nil && now.Sub(s.toldAt) >= 2*q.repeatAfter {
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
// comes later is told what is wrong then.
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
