package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// door is the listener that net/http serves from. It does the TLS handshake and waits for the first byte of the first
// request before it hands a connection over.
//
// Why net/http must not do that: it runs ReadHeaderTimeout and ReadTimeout from the end of the handshake. A client's pool
// (net/http.Transport dials, then finds another connection free) often holds connections that have never carried a
// request, and kube-apiserver keeps those for 90 s as well. They would be cut after ReadHeaderTimeout, perhaps under the request.
type door struct {
	net.Listener // the TCP listener: Addr comes from here
	config       *tls.Config
	timing       timing
	metrics      *metrics
	log          logr.Logger

	// ready hands over connections with a request; never closed, done ends both sides.
	ready chan *conn
	// done is closed by Close.
	done chan struct{}
	once sync.Once
	// greeters are the goroutines of connections not yet handed over.
	greeters sync.WaitGroup
	// abandoned: connections are closed without a goodbye, since time is up.
	abandoned atomic.Bool
	// accepted is the time of the newest connection, in nanoseconds since 1970.
	accepted atomic.Int64

	// mu guards conns.
	mu    sync.Mutex
	conns map[*conn]struct{}
}

func newDoor(l net.Listener, config *tls.Config, t timing, m *metrics, log logr.Logger) *door {
	return &door{
		Listener: l, config: config, timing: t, metrics: m, log: log,
		ready: make(chan *conn),
		done:  make(chan struct{}),
		conns: map[*conn]struct{}{},
	}
}

// run accepts connections until the TCP listener is closed, then waits for those not yet handed over.
func (d *door) run() {
	defer d.greeters.Wait()
	pause := time.Duration(0)
	for {
		raw, err := d.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of file descriptors or memory: an error that passes. Without the pause the loop would take a whole core.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			d.log.Error(err, "cannot accept connections", "retryIn", pause.String())
			select {
			case <-time.After(pause):
			case <-d.done:
			}
			continue
		}
		pause = 0
		d.accepted.Store(time.Now().UnixNano())
		c := &conn{Conn: tls.Server(raw, d.config), door: d}
		if !d.remember(c) {
			_ = raw.Close() // stopped between the accept and here
			continue
		}
		d.greeters.Go(func() { d.greet(c) })
	}
}

// greet brings c to its first request and hands it over, or closes it.
func (d *door) greet(c *conn) {
	if err := d.handshake(c); err != nil {
		_ = c.Close() // the handshake's error is the one that counts
		return
	}
	now := time.Now()
	c.wait(now.Add(d.timing.settle))
	if err := c.SetReadDeadline(now.Add(d.timing.first)); err != nil {
		_ = c.Close()
		return
	}
	n, _ := c.Read(c.first[:]) // an error with no byte is the client's close or our timeout: Close tells them apart
	if n == 0 {
		_ = c.Close()
		return
	}
	c.hasFirst = true
	select {
	case d.ready <- c:
	case <-d.done:
		_ = c.Close()
	}
}

func (d *door) handshake(c *conn) error {
	err := c.Conn.SetDeadline(time.Now().Add(d.timing.handshake))
	if err == nil {
		err = c.Conn.Handshake()
	}
	if err == nil {
		return c.Conn.SetDeadline(time.Time{})
	}
	// A connection closed without a byte is a TCP probe or port scan, no TLS client that failed.
	if errors.Is(err, io.EOF) || d.abandoned.Load() {
		return err
	}
	failure := classify(err)
	d.metrics.handshake[failure].Inc()
	d.log.V(1).Info("tls handshake failed", "cause", handshakeLabel[failure], "remote", c.RemoteAddr().String(), "error", err.Error())
	return err
}

func isCertificateAlert(err error) bool { return strings.Contains(err.Error(), "certificate") }

// Accept returns the next connection that has a request, or net.ErrClosed after Close.
func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.ready:
		return c, nil
	case <-d.done:
		return nil, net.ErrClosed
	}
}

// shut closes the TCP listener; connections already accepted are still handed over.
func (d *door) shut() { _ = d.Listener.Close() } // a second close is all that can fail

// Close ends Accept and closes the TCP listener.
func (d *door) Close() error {
	d.once.Do(func() { close(d.done) })
	d.shut()
	return nil
}

// remember adds a new connection, unless all have been abandoned.
func (d *door) remember(c *conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.abandoned.Load() {
		return false
	}
	d.conns[c] = struct{}{}
	return true
}

// forget drops a closed connection.
func (d *door) forget(c *conn) {
	d.mu.Lock()
	delete(d.conns, c)
	d.mu.Unlock()
}

// open returns the number of connections that are not closed.
func (d *door) open() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.conns)
}

// sweep asks every connection that waits for a request to say goodbye.
func (d *door) sweep() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for c := range d.conns {
		c.sweep(now)
	}
}

// abandon closes what is left, without a goodbye, and returns how many connections that were.
func (d *door) abandon() int {
	d.mu.Lock()
	d.abandoned.Store(true)
	left := make([]*conn, 0, len(d.conns))
	for c := range d.conns {
		left = append(left, c)
	}
	d.mu.Unlock()
	for _, c := range left {
		// The TCP connection itself: a TLS close waits for a writer that may be stuck.
		_ = c.Conn.NetConn().Close()
	}
	return len(left)
}
