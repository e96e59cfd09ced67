package alert

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// line is everything known about one lineKey that has not been told yet.
type line struct {
	key         lineKey
	seq         uint64             // order of arrival inside its ledger
	count       int                // events merged; Placed counts its ordinals instead
	repeats     int                // events held back since the line was told last
	message     string             // of the latest event, at most maxMessageBytes
	cut         int                // bytes left out of message
	first, last time.Time          // of the merged events
	ordinals    map[int32]struct{} // Placed only
}

// events returns how many events the line stands for.
func (l *line) events() int {
	if l.key.kind == Placed {
		return len(l.ordinals)
	}
	return l.count
}

// ledger merges events into lines within fixed bounds. It is not safe for
// concurrent use. The zero value holds nothing and accepts nothing.
type ledger struct {
	maxLines    int // lines about pods; the webhook's own may exceed it by ownReserve
	maxOrdinals int // ordinals over all lines
	lines       map[lineKey]*line
	ordinals    int
	dropped     int // events refused for lack of space, not reported yet
	seq         uint64
}

// ownReserve is the room kept for the webhook's own events, so that a flood of
// tenants' events cannot push out the loss of trust. Their reasons are few.
const ownReserve = 64

func newLedger(maxLines, maxOrdinals int) *ledger {
	return &ledger{maxLines: maxLines, maxOrdinals: maxOrdinals, lines: map[lineKey]*line{}}
}

// add merges one event and reports whether there was room for it.
func (l *ledger) add(e Event, now time.Time) bool {
	at := l.open(keyOf(e), e.Kind == Placed)
	if at == nil {
		l.dropped++
		return false
	}
	if e.Kind == Placed && !l.addOrdinal(at, e.Ordinal) {
		l.dropped++
		return false
	}
	at.count++
	at.stretch(now, now)
	if message := cut(e.Message, maxMessageBytes); message != at.message {
		at.message = strings.Clone(message)
	}
	at.cut = len(e.Message) - len(at.message)
	return true
}

// open returns the key's line, creating it if there is room; nil if not.
func (l *ledger) open(key lineKey, placed bool) *line {
	if known := l.lines[key]; known != nil {
		return known
	}
	limit := l.maxLines
	if key.own() {
		limit += ownReserve
	}
	if len(l.lines) >= limit || placed && l.ordinals >= l.maxOrdinals {
		return nil
	}
	l.seq++
	fresh := &line{key: key.clone(), seq: l.seq}
	if placed {
		fresh.ordinals = map[int32]struct{}{}
	}
	l.lines[fresh.key] = fresh
	return fresh
}

// addOrdinal reports whether the line now holds the ordinal.
func (l *ledger) addOrdinal(at *line, ordinal int32) bool {
	if _, known := at.ordinals[ordinal]; known {
		return true
	}
	if l.ordinals >= l.maxOrdinals {
		return false
	}
	at.ordinals[ordinal] = struct{}{}
	l.ordinals++
	return true
}

// merge moves other's lines into l and returns how many events found no room.
func (l *ledger) merge(other *ledger) (dropped int) {
	for _, from := range other.byAge() {
		at := l.open(from.key, from.key.kind == Placed)
		if at == nil {
			dropped += from.events()
			continue
		}
		for ordinal := range from.ordinals {
			if !l.addOrdinal(at, ordinal) {
				dropped++
			}
		}
		at.count += from.count
		at.repeats += from.repeats
		at.message, at.cut = from.message, from.cut
		at.stretch(from.first, from.last)
	}
	l.dropped += other.dropped + dropped
	return dropped
}

// remove takes the ordinals from the key's line, and the line itself once empty.
// A line without ordinals goes as a whole.
func (l *ledger) remove(key lineKey, ordinals []int32) {
	at := l.lines[key]
	if at == nil {
		return
	}
	for _, ordinal := range ordinals {
		if _, held := at.ordinals[ordinal]; held {
			delete(at.ordinals, ordinal)
			l.ordinals--
		}
	}
	if len(at.ordinals) == 0 {
		delete(l.lines, key)
	}
}

// events returns how many events wait, dropped ones not included.
func (l *ledger) events() (n int) {
	for _, at := range l.lines {
		n += at.events()
	}
	return n
}

// byAge returns the webhook's own lines first, then the others, oldest first, so
// that a flood delays what came after it and never what came before.
func (l *ledger) byAge() []*line {
	out := make([]*line, 0, len(l.lines))
	for _, at := range l.lines {
		out = append(out, at)
	}
	slices.SortFunc(out, func(a, b *line) int {
		if a.key.own() != b.key.own() {
			if a.key.own() {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.seq, b.seq)
	})
	return out
}

// stretch widens the line's span of time to hold [first, last].
func (l *line) stretch(first, last time.Time) {
	if l.first.IsZero() || first.Before(l.first) {
		l.first = first
	}
	if last.After(l.last) {
		l.last = last
	}
}
