package server

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// connections are those that are open.
type connections struct {
	// max is how many may be served; a quarter more may be closing.
	max int
	// mu guards what follows. A conn's mu may be taken under it, not the other way round.
	mu   sync.Mutex
	open map[*conn]struct{}
	// room is how many more there may be before it is worth a look how many are served.
	room int
	// abandoned: the drain is over, none is taken any more.
	abandoned bool
}

// add takes a new connection and makes room for it. It reports whether the connection may be served.
func (s *connections) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.abandoned {
		return false
	}
	s.open[c] = struct{}{}
	if s.room--; s.room < 0 {
		s.makeRoom()
	}
	return true
}

// credit is how much longer than a new connection one may wait that has carried a request: a flood of connections then closes
// itself, and not those that kube-apiserver keeps.
const credit = 5 * time.Second

// makeRoom ends those connections that have waited longest for their client: as many as are beyond max, and a sixteenth more, so
// that a flood does not make each new connection look at all others. Of those that are closing already it gives up the
// first ones when they are more than a quarter of max.
func (s *connections) makeRoom() {
	type candidate struct {
		*conn
		since time.Time
	}
	var waiting, leaving []candidate
	for c := range s.open {
		c.mu.Lock()
		switch {
		case c.ended != nil || c.stage == closing:
			leaving = append(leaving, candidate{c, c.since})
		case c.stage == idle && c.used:
			waiting = append(waiting, candidate{c, c.since.Add(credit)})
		case c.stage <= reading:
			waiting = append(waiting, candidate{c, c.since})
		}
		c.mu.Unlock()
	}
	s.room = s.max - (len(s.open) - len(leaving))
	if s.room >= 0 {
		return
	}
	first := func(conns []candidate, n int) []candidate {
		slices.SortFunc(conns, func(a, b candidate) int { return a.since.Compare(b.since) })
		return conns[:min(max(n, 0), len(conns))]
	}
	ended := first(waiting, s.max/16-s.room)
	for _, c := range ended {
		c.interrupt(errConnections)
	}
	s.room += len(ended)
	for _, c := range first(leaving, len(leaving)+len(ended)-s.max/4) {
		_ = c.Conn.Close()
		delete(s.open, c.conn)
	}
}

// cutSlowest makes room for a body: of those under way since before, it cuts the one that began first. A large body makes
// room for itself at the cost of large ones alone. It reports whether there was one.
func (s *connections) cutSlowest(before time.Time, large bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var slowest *conn
	for c := range s.open {
		c.mu.Lock()
		if c.stage == reading && c.held > 0 && c.ended == nil && c.began.Before(before) && (!large || c.held > smallBody) {
			slowest, before = c, c.began
		}
		c.mu.Unlock()
	}
	if slowest == nil {
		return false
	}
	slowest.interrupt(errBytes)
	return true
}

// remove closes and drops a connection.
func (s *connections) remove(c *conn) {
	_ = c.Conn.Close() // it may be closed already
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
}

func (s *connections) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// endIdle ends those that wait for a request. One that has not carried a request yet is left alone until firstRequest is over: its
// client is most likely about to send one, and net/http.Transport does not repeat a request on a connection it has not
// used before.
func (s *connections) endIdle(firstRequest time.Duration) {
	s.each(func(c *conn) {
		c.mu.Lock()
		ends := c.stage == idle && (c.used || time.Since(c.since) >= firstRequest)
		c.mu.Unlock()
		if ends {
			c.interrupt(errIdle)
		}
	})
}

// endReading refuses the requests that have not come whole.
func (s *connections) endReading() {
	s.each(func(c *conn) {
		c.mu.Lock()
		ends := c.stage == reading
		c.mu.Unlock()
		if ends {
			c.interrupt(errDraining)
		}
	})
}

// abandon closes what is left and returns how many connections that were.
func (s *connections) abandon() int {
	s.mu.Lock()
	s.abandoned = true
	left := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	// A client that does not read its answer must not hold up the exit.
	hurry := time.AfterFunc(200*time.Millisecond, func() {
		for _, c := range left {
			_ = c.Conn.Close()
		}
	})
	defer hurry.Stop()
	for _, c := range left {
		c.abandon()
	}
	return len(left)
}

// each calls do for every open connection.
func (s *connections) each(do func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		do(c)
	}
}
