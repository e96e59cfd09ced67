package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// phase is the stage of the server's life; it only grows.
type phase = int32

const (
	// serving: answers are normal, connections are kept.
	serving phase = iota
	// leaving: answers are normal, each one tells its client to open a new connection, which the Service sends elsewhere.
	leaving
	// refusing: new requests get 503 with Retry-After, those inside the handler end normally.
	refusing
)

// Server is the TLS listener, the probes' listener, and their common life.
type Server struct {
	listener   net.Listener
	tls        *tls.Config
	handshakes chan struct{} // holds one element for each handshake that computes
	conns      connections
	slots      slots
	bodies     budget
	ready      latch
	phase      atomic.Int32
	accepted   atomic.Int64 // time of the newest connection, in nanoseconds since 1970
	metrics    *metrics
	probes     net.Listener
	health     *http.Server
	options    Options
	timing     timing
	started    atomic.Bool
}

// New validates the options, binds both listeners and registers the metrics. After an error nothing stays bound.
func New(o Options) (*Server, error) { return newServer(o, production) }

func newServer(o Options, t timing) (*Server, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("validate server options: %w", err)
	}
	// Go's default TCP keep-alive is on (15 s, 9 probes): peers that vanished free their connection after about 2 min.
	listener, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("listen for admission requests: %w", err)
	}
	probes, err := net.Listen("tcp", o.HealthAddress)
	if err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("listen for probes: %w", err)
	}
	s := &Server{
		listener:   listener,
		tls:        newTLSConfig(o.GetCertificate),
		handshakes: make(chan struct{}, runtime.GOMAXPROCS(0)),
		conns:      connections{max: o.MaxConnections, room: o.MaxConnections, open: map[*conn]struct{}{}},
		slots:      slots{max: int64(o.MaxInFlight)},
		bodies:     budget{total: o.BodyBudget},
		ready:      latch{check: o.Ready},
		probes:     probes,
		options:    o,
		timing:     t,
	}
	s.health = newHealth(s)
	if s.metrics, err = newMetrics(o.Registerer, s); err != nil {
		_ = listener.Close()
		_ = probes.Close()
		return nil, err
	}
	return s, nil
}

// Addr returns the address of the TLS listener.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// HealthAddr returns the address of the probes' listener.
func (s *Server) HealthAddr() net.Addr { return s.probes.Addr() }

// NeedLeaderElection tells controller-runtime's manager to run the server in every replica.
func (s *Server) NeedLeaderElection() bool { return false }

// Start serves until ctx ends, drains, and returns nil. Each connection has one goroutine, which ends with it, at the latest
// just after Start has closed it; a handler that hangs is left behind. An error means that the probes' listener failed. A
// server can be started once.
func (s *Server) Start(ctx context.Context) error {
	if !s.started.CompareAndSwap(false, true) {
		return errors.New("start server: it was started before")
	}
	failed := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(s.accept)
	running.Go(func() { failed <- s.health.Serve(s.probes) })
	s.options.Log.Info("serving admission requests", "address", s.Addr().String(), "healthAddress", s.HealthAddr().String())

	var err error
	select {
	case <-ctx.Done():
		s.drain()
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
	}
	s.stop()
	running.Wait()
	return err
}

// accept takes connections until the listener is closed.
func (s *Server) accept() {
	pause := time.Duration(0)
	for {
		raw, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of file descriptors or memory: an error that passes. Without the pause the loop would take a whole core.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.options.Log.Error(err, "cannot accept connections", "retryIn", pause.String())
			time.Sleep(pause)
			continue
		}
		pause = 0
		s.accepted.Store(time.Now().UnixNano())
		c, err := newConn(raw, s)
		if err != nil || !s.conns.add(c) {
			_ = raw.Close()
			continue
		}
		go c.serve()
	}
}

// logPanic is deferred. It ends, counts and logs a panic, whose value is logged only when it comes from the Go runtime; any
// other may quote the body.
func (s *Server) logPanic() {
	value := recover()
	if value == nil {
		return
	}
	s.metrics.panics.Inc()
	reason := fmt.Sprintf("value of type %T", value)
	if err, ok := value.(runtime.Error); ok {
		reason = err.Error()
	}
	s.options.Log.Error(nil, "admission handler panicked", "reason", reason, "stack", string(debug.Stack()))
}

// drain lets every client leave without losing a request; doc.go says why each step is there.
func (s *Server) drain() {
	begin := time.Now()
	s.options.Log.Info("draining", "delay", s.options.DrainDelay.String(), "timeout", s.options.DrainTimeout.String())
	s.phase.Store(leaving)
	time.Sleep(s.options.DrainDelay)
	s.phase.Store(refusing)

	end := begin.Add(s.options.DrainTimeout)
	last := min(s.timing.last, (s.options.DrainTimeout-s.options.DrainDelay)/2)
	quiet := s.until(end.Add(-last), func() bool {
		s.conns.endIdle(s.timing.firstRequest)
		return s.conns.count() == 0 && time.Since(time.Unix(0, s.accepted.Load())) >= s.timing.quiet
	})
	_ = s.listener.Close()
	if !quiet {
		s.conns.endReading()
	}
	left := s.until(end, func() bool {
		s.conns.endIdle(s.timing.firstRequest)
		return s.conns.count() == 0
	})
	newest := max(0, time.Unix(0, s.accepted.Load()).Sub(begin))
	s.options.Log.Info("drained", "complete", left, "took", time.Since(begin).String(), "newestConnectionAfter", newest.String())
}

// until polls done at each tick and reports whether it came true before end.
func (s *Server) until(end time.Time, done func() bool) bool {
	for !done() {
		if !time.Now().Before(end) {
			return false
		}
		time.Sleep(s.timing.tick)
	}
	return true
}

// stop closes everything that is left.
func (s *Server) stop() {
	if cut := s.conns.abandon(); cut > 0 {
		s.options.Log.Error(nil, "connections cut at the end of the drain timeout", "connections", cut)
	}
	// Both report errors of listeners that are closed already.
	_ = s.listener.Close()
	_ = s.health.Close()
}
