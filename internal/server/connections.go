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
	// mu guards open and abandoned. A conn's mu may be taken under it, not the other way round.
	mu   sync.Mutex
	open map[*conn]struct{}
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
	if len(s.open) > s.max {
		s.makeRoom()
	}
	return true
}

// makeRoom ends the connection that has waited longest for its client, if more than max are served, and gives up the one
// that has been closing longest, if those are more than a quarter.
func (s *connections) makeRoom() {
	var waiting, leaving *conn
	var waitingSince, leavingSince time.Time
	left := 0
	for c := range s.open {
		c.mu.Lock()
		stage, since, ended := c.stage, c.since, c.ended != nil || c.stage == closing
		c.mu.Unlock()
		switch {
		case ended:
			if left++; leaving == nil || since.Before(leavingSince) {
				leaving, leavingSince = c, since
			}
		case stage <= reading && (waiting == nil || since.Before(waitingSince)):
			waiting, waitingSince = c, since
		}
	}
	if len(s.open)-left > s.max && waiting != nil {
		waiting.interrupt(errConnections)
	}
	if left > s.max/4 {
		_ = leaving.Conn.Close()
	}
}

// cutSlowest makes room for a body that must have come at due: of those that must have come earlier, the first one is cut.
// A large body makes room for itself at the cost of large ones alone. It reports whether there was one.
func (s *connections) cutSlowest(due time.Time, large bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var slowest *conn
	for c := range s.open {
		c.mu.Lock()
		if c.stage == reading && c.held > 0 && c.ended == nil && c.due.Before(due) && (!large || c.held > smallBody) {
			slowest, due = c, c.due
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

// endIdle ends those that wait for a request. One that has not carried a request yet is left alone until settle is over: its
// client is most likely about to send one, and net/http.Transport does not repeat a request on a connection it has not
// used before.
func (s *connections) endIdle(settle time.Duration) {
	s.each(func(c *conn) {
		c.mu.Lock()
		ends := c.stage == idle && (c.used || time.Since(c.since) >= settle)
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
