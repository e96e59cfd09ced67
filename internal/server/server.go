package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// maxHeaderBytes bounds a request's head; kube-apiserver sends about 400 bytes.
const maxHeaderBytes = 16 << 10

// Server is the TLS listener, the probes' listener, and their common life.
type Server struct {
	gate    *gate
	door    *door
	https   *http.Server
	health  *http.Server
	probes  net.Listener
	options Options
	timing  timing
	started atomic.Bool
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
	s := &Server{options: o, timing: t, probes: probes}
	s.gate = &gate{
		handler: o.Handler,
		maxBody: o.MaxBodyBytes,
		slots:   slots{max: int64(o.MaxInFlight)},
		bodies:  budget{total: o.BodyBudget},
		ready:   latch{check: o.Ready},
		log:     o.Log,
	}
	s.gate.metrics, err = newMetrics(o.Registerer,
		func() float64 { return float64(s.gate.slots.used.Load()) },
		func() float64 { return float64(s.gate.bodies.used.Load()) },
		func() float64 { return float64(s.door.open()) })
	if err != nil {
		_ = listener.Close()
		_ = probes.Close()
		return nil, err
	}
	s.door = newDoor(listener, tlsConfig(o.GetCertificate), t, s.gate.metrics, o.Log)
	s.https = newHTTPS(s.gate, t)
	s.health = newHealth(s.gate)
	return s, nil
}

// tlsConfig allows TLS 1.3 and HTTP/1.1 alone: kube-apiserver speaks both to webhooks, and over HTTP/2 one connection would
// carry all its requests to one replica (kubernetes issue 75791).
//
// Session tickets are off. kube-apiserver never resumes a session (client-go sets no ClientSessionCache), so they gain
// nothing; and a resumed session shows no certificate, so a client that does resume would prove the trust of yesterday.
func tlsConfig(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{"http/1.1"},
		GetCertificate:         get,
		SessionTicketsDisabled: true,
	}
}

func newHTTPS(g *gate, t timing) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           g,
		ReadHeaderTimeout: t.header,
		ReadTimeout:       t.read,
		WriteTimeout:      t.write,
		IdleTimeout:       t.idle,
		MaxHeaderBytes:    maxHeaderBytes,
		Protocols:         protocols,
		ErrorLog:          quietLog(g.log),
		ConnState: func(c net.Conn, state http.ConnState) {
			if state == http.StateIdle {
				c.(*conn).wait(time.Time{})
			}
		},
	}
}

// quietLog sends what net/http has to say to V(1): it is about single clients, never about the server.
func quietLog(l logr.Logger) *log.Logger { return log.New(quietWriter{l.V(1)}, "", 0) }

type quietWriter struct{ log logr.Logger }

func (q quietWriter) Write(p []byte) (int, error) {
	q.log.Info("http server message", "text", string(p))
	return len(p), nil
}

// Addr returns the address of the TLS listener.
func (s *Server) Addr() net.Addr { return s.door.Addr() }

// HealthAddr returns the address of the probes' listener.
func (s *Server) HealthAddr() net.Addr { return s.probes.Addr() }

// NeedLeaderElection tells controller-runtime's manager to run the server in every replica.
func (s *Server) NeedLeaderElection() bool { return false }

// Start serves until ctx ends, drains, and returns nil; it owns every goroutine of the server but those of a handler that
// is still busy at the end of DrainTimeout. An error means that a listener failed. A server can be started once.
func (s *Server) Start(ctx context.Context) error {
	if !s.started.CompareAndSwap(false, true) {
		return errors.New("start server: it was started before")
	}
	failed := make(chan error, 2)
	var running sync.WaitGroup
	running.Go(s.door.run)
	running.Go(func() { failed <- s.https.Serve(s.door) })
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

// drain lets every client leave without losing a request; doc.go tells why each step is there.
func (s *Server) drain() {
	begin := time.Now()
	s.options.Log.Info("draining", "delay", s.options.DrainDelay.String(), "timeout", s.options.DrainTimeout.String())
	over := time.NewTimer(s.options.DrainTimeout)
	defer over.Stop()

	s.gate.phase.Store(leaving)
	delay := time.NewTimer(s.options.DrainDelay)
	defer delay.Stop()
	<-delay.C

	s.gate.phase.Store(refusing)
	left := s.until(over.C, func() bool {
		s.door.sweep()
		return s.door.open() == 0 && time.Since(time.Unix(0, s.door.accepted.Load())) >= s.timing.quiet
	})
	s.door.shut()
	left = left && s.until(over.C, func() bool {
		s.door.sweep()
		return s.door.open() == 0
	})
	newest := max(0, time.Unix(0, s.door.accepted.Load()).Sub(begin))
	s.options.Log.Info("drained", "complete", left, "took", time.Since(begin).String(), "newestConnectionAfter", newest.String())
}

// until polls done at each tick and reports whether it came true before over fired.
func (s *Server) until(over <-chan time.Time, done func() bool) bool {
	tick := time.NewTicker(s.timing.tick)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-over:
			return false
		}
	}
	return true
}

// stop closes everything that is left.
func (s *Server) stop() {
	if cut := s.door.abandon(); cut > 0 {
		s.options.Log.Error(nil, "connections cut at the end of the drain timeout", "connections", cut)
	}
	// Both report errors of connections and listeners that are closed already.
	_ = s.door.Close()
	_ = s.https.Close()
	_ = s.health.Close()
}
