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
	places, turns := make(map[*line]place, len(lines)), namespaceCounts{}
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
