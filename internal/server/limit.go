package server

import "sync/atomic"

// smallBody is the largest body that may use the whole budget: ten times an ordinary review (6 KB).
const smallBody = 64 << 10

// largeLimit is the part of a budget that bodies over smallBody may fill; the rest is kept for small ones.
func largeLimit(budget int64) int64 { return budget - budget/4 }

// budget bounds the bytes of request bodies in memory. It never waits: what does not fit is refused, and the caller comes
// back after Retry-After, perhaps to a less loaded replica.
type budget struct {
	total int64
	used  atomic.Int64
}

// reserve takes n bytes and reports whether they fitted. The caller gives them back with release. The reservation is a
// compare-and-swap, not an add and a correction: a refused large body must not push out a small one for an instant.
func (b *budget) reserve(n int64) bool {
	limit := b.total
	if n > smallBody {
		limit = largeLimit(b.total)
	}
	for {
		used := b.used.Load()
		if used+n > limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (b *budget) release(n int64) { b.used.Add(-n) }

// slots bounds the requests inside the handler.
type slots struct {
	max  int64
	used atomic.Int64
}

// enter takes a slot and reports whether one was free. The caller gives it back with leave.
func (s *slots) enter() bool {
	if s.used.Add(1) <= s.max {
		return true
	}
	s.used.Add(-1)
	return false
}

func (s *slots) leave() { s.used.Add(-1) }
