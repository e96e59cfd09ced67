package server

import "sync/atomic"

// smallBody is the largest buffer that may use the whole budget: ten times an ordinary review (6 KB).
const smallBody = 64 << 10

// largeLimit is the part of a budget that buffers over smallBody may fill; the rest is kept for small ones.
func largeLimit(budget int) int { return budget - budget/4 }

// budget bounds the bytes of request bodies in memory. It never waits.
type budget struct {
	total int
	used  atomic.Int64
}

// grow turns a reservation of from bytes into one of to, and reports whether it fitted. It is given back with release. It
// is a compare-and-swap, not an add and a correction: a refused large body must not push out a small one for an instant.
func (b *budget) grow(from, to int) bool {
	limit := b.total
	if to > smallBody {
		limit = largeLimit(b.total)
	}
	for {
		used := b.used.Load()
		if used+int64(to-from) > int64(limit) {
			return false
		}
		if b.used.CompareAndSwap(used, used+int64(to-from)) {
			return true
		}
	}
}

func (b *budget) release(n int) { b.used.Add(int64(-n)) }

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
