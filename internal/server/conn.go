package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// goodbye is what an idle connection is closed with, instead of a bare close. To a client that really is idle it is a close
// with a line in its log. A client whose request crosses it on the way takes it for the answer to that request, and
// repeats the request elsewhere; a bare close would be an EOF, which kube-apiserver never repeats for a POST.
var goodbye = []byte("HTTP/1.1 503 Service Unavailable\r\n" +
	"Retry-After: " + retryAfter + "\r\n" +
	"Connection: close\r\n" +
	"Content-Length: " + strconv.Itoa(len(goodbyeText)) + "\r\n\r\n" +
	goodbyeText)

const goodbyeText = "idle connection closed, try again\n"

// conn is one client connection. It knows whether it waits for a request, so that it can be closed without cutting one.
type conn struct {
	*tls.Conn
	door *door

	// first is the first byte of the first request, held back until net/http reads; hasFirst says that it is there. Only
	// the goroutine that owns the connection's reads touches them.
	first    [1]byte
	hasFirst bool

	// mu guards waiting, settled and swept, and orders the deadlines that depend on them.
	mu sync.Mutex
	// waiting: the handshake or the last answer is over and no byte of a next request has been seen.
	waiting bool
	// settled is when the drain may end the wait; zero means at any time.
	settled time.Time
	// swept: the drain wants this connection closed as soon as it waits.
	swept bool

	// answered: something was written since the connection last began to wait; a goodbye would come too late.
	answered atomic.Bool
	// timedOut: the last read ended at its deadline, not by the client's close.
	timedOut atomic.Bool
	closing  sync.Once
}

// Read passes through and notes the start of a request.
func (c *conn) Read(p []byte) (int, error) {
	if c.hasFirst && len(p) > 0 {
		c.hasFirst = false
		p[0] = c.first[0]
		return 1, nil
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.mu.Lock()
		c.waiting = false
		c.mu.Unlock()
	}
	c.timedOut.Store(errors.Is(err, os.ErrDeadlineExceeded))
	return n, err
}

// Write passes through and notes that the request is being answered.
func (c *conn) Write(p []byte) (int, error) {
	c.answered.Store(true)
	return c.Conn.Write(p)
}

// SetReadDeadline passes through, unless the drain has already ended the wait for a request.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.swept && c.waiting {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// wait marks the start of a wait for a request that the drain may end from settled on.
func (c *conn) wait(settled time.Time) {
	c.answered.Store(false)
	c.mu.Lock()
	c.waiting, c.settled = true, settled
	c.mu.Unlock()
}

// sweep ends the wait for a request. The goroutine that reads wakes up with a timeout and closes the connection itself, so
// that the goodbye can never fall into the middle of an answer. A connection with a request under way is left alone.
func (c *conn) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.waiting || now.Before(c.settled) {
		return
	}
	c.swept = true
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection
}

// Close closes the connection, with a goodbye when it is we who end a wait.
func (c *conn) Close() error {
	var err error
	c.closing.Do(func() {
		if c.timedOut.Load() && !c.answered.Load() && !c.door.abandoned.Load() {
			c.farewell()
		}
		err = c.Conn.Close()
		c.door.forget(c)
	})
	return err
}

// farewell sends the goodbye and lingers.
func (c *conn) farewell() {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(c.door.timing.farewell)); err != nil {
		return
	}
	if _, err := c.Conn.Write(goodbye); err != nil {
		return
	}
	_ = c.CloseWrite() // a failure means that the client is gone
}

// CloseWrite ends our side of the stream and lingers until the client has closed its own. net/http calls it after an answer
// that left much of the body unread; by itself it then waits 500 ms and closes. A close with unread bytes, or bytes that
// arrive after it, make the kernel send a reset, which may wipe the answer out of the client's receive buffer: so read
// those bytes (RFC 9112, section 9.6), without decrypting them.
func (c *conn) CloseWrite() error {
	if err := c.Conn.CloseWrite(); err != nil {
		return err
	}
	raw := c.Conn.NetConn()
	if err := raw.SetReadDeadline(time.Now().Add(c.door.timing.farewell)); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, raw) // ends with the client's close or the deadline; both are an end
	return nil
}

// classify tells the causes of a failed handshake apart. A client that refuses our certificate says so with an alert whose
// type crypto/tls does not export; all of its texts about certificates hold that word.
func classify(err error) handshakeFailure {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" && isCertificateAlert(op.Err) {
		return handshakeUntrusted
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return handshakeTimeout
	}
	return handshakeOther
}
