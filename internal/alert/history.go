package alert

import "time"

// history remembers what was told, so that it is not told again too soon. "The
// same" means: for a placed pod, the same ordinal with the same key and value (a
// new ordinal is news, so no ordinal is ever held back before it was told once);
// for every other event, the same kind, reason, namespace and StatefulSet.
//
// It forgets what is older than keep. When it is full it remembers nothing more,
// and the worst case is a repeat. It belongs to one goroutine.
type history struct {
	keep                  time.Duration
	maxLines, maxOrdinals int
	lines                 map[lineKey]*told
	ordinals              int // over all lines
}

// told is the memory of one line.
type told struct {
	at       time.Time           // when it was told last
	repeats  int                 // events held back since
	ordinals map[int32]time.Time // Placed only: when each was told
}

func newHistory(keep time.Duration, maxLines, maxOrdinals int) *history {
	return &history{keep: keep, maxLines: maxLines, maxOrdinals: maxOrdinals, lines: map[lineKey]*told{}}
}

// hold removes from fresh what was told less than keep ago and returns how many
// events that were. A line told longer ago takes the count of its repeats along.
func (h *history) hold(fresh *ledger, now time.Time) (held int) {
	for key, at := range fresh.lines {
		known := h.lines[key]
		if known == nil {
			continue
		}
		if key.kind == Placed {
			held += known.holdOrdinals(fresh, at, now.Add(-h.keep))
			continue
		}
		if now.Sub(known.at) < h.keep {
			held += at.count
			known.repeats += at.count
			fresh.remove(key, nil)
			continue
		}
		at.repeats += known.repeats
		known.repeats = 0
	}
	return held
}

// holdOrdinals removes the line's ordinals that were told after since.
func (t *told) holdOrdinals(fresh *ledger, at *line, since time.Time) int {
	var again []int32
	for ordinal := range at.ordinals {
		if when, known := t.ordinals[ordinal]; known && when.After(since) {
			again = append(again, ordinal)
		}
	}
	if len(again) > 0 {
		fresh.remove(at.key, again)
	}
	return len(again)
}

// record remembers that the line was told now, with these ordinals.
func (h *history) record(key lineKey, ordinals []int32, now time.Time) {
	known := h.lines[key]
	if known == nil {
		if len(h.lines) >= h.maxLines+ownReserve {
			return
		}
		known = &told{}
		h.lines[key] = known
	}
	known.at = now
	for _, ordinal := range ordinals {
		if known.ordinals == nil {
			known.ordinals = map[int32]time.Time{}
		}
		if _, again := known.ordinals[ordinal]; !again {
			if h.ordinals >= h.maxOrdinals {
				return
			}
			h.ordinals++
		}
		known.ordinals[ordinal] = now
	}
}

// forget drops what is too old to hold anything back. A line that still owes the
// count of its repeats is kept once as long again, for the next time it is told.
func (h *history) forget(now time.Time) {
	since := now.Add(-h.keep)
	for key, known := range h.lines {
		for ordinal, when := range known.ordinals {
			if !when.After(since) {
				delete(known.ordinals, ordinal)
				h.ordinals--
			}
		}
		owes := known.repeats > 0 && known.at.After(since.Add(-h.keep))
		if len(known.ordinals) == 0 && !known.at.After(since) && !owes {
			delete(h.lines, key)
		}
	}
}
