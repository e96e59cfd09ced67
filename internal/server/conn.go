package server

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// stage says what a connection is doing. In the first three it waits for its client.
type stage int

const (
	handshaking stage = iota
	idle              // no byte of a next request has come
	reading           // a request's head or body
	deciding          // in the handler, until it replies
	answering         // from the reply on
	closing           // until the client has closed its side
)

// errLast ends a connection whose last answer has been sent.
var errLast = errors.New("the last answer was sent")

// conn is one client connection: the TCP connection that crypto/tls reads and writes, and the state of the goroutine that
// serves it. Other goroutines only end a wait for the client: they set the read deadline in the past, and the goroutine
// wakes up, answers 503 and closes. So that answer never falls into the middle of another one.
type conn struct {
	net.Conn
	server *Server
	tls    *tls.Conn
	head   headReader
	reader *bufio.Reader
	reply  func(status int, text []byte) // sendReply, made once
	out    []byte                        // the answer being written
	// last: the answer being written is the connection's last one.
	last bool
	// computing: the handshake holds one of Server.handshakes.
	computing bool
	// probe is where the byte goes that a body must not have.
	probe [1]byte

	// mu guards what follows, and the order of read deadlines.
	mu    sync.Mutex
	stage stage
	// since is when the wait for the handshake or the request began, or the end.
	since time.Time
	// used: it has carried a request.
	used bool
	// ended is why somebody has ended the wait, or nil. The read deadline then stays in the past.
	ended *failure
	// held is how many bytes are reserved for the body, began when it did.
	held  int
	began time.Time
}

func newConn(raw net.Conn, s *Server) (*conn, error) {
	c := &conn{Conn: raw, server: s, since: time.Now()}
	c.tls = tls.Server(c, s.tls)
	c.head.src = c.tls
	c.reader = bufio.NewReader(&c.head)
	c.reply = c.sendReply
	return c, raw.SetDeadline(c.since.Add(s.timing.handshake))
}

// serve carries c from its handshake to its end.
func (c *conn) serve() {
	defer c.server.conns.remove(c)
	defer c.server.logPanic()
	err := c.handshake()
	for err == nil {
		err = c.serveRequest()
	}
	c.end(err)
}

// serveRequest waits for one request and answers it. An error ends the connection; a *failure is still to be answered.
func (c *conn) serveRequest() error {
	c.head.left = maxHead + c.reader.Size()
	wait := c.server.timing.idle
	if !c.used {
		wait = c.server.timing.first
	}
	c.enter(idle, wait)
	if _, err := c.reader.Peek(1); err != nil {
		return c.readError(errIdle)
	}
	c.enter(reading, c.server.timing.head)
	r, err := c.readHead()
	if err != nil {
		return err
	}
	handler, err := c.server.admit(r)
	if err != nil {
		return err
	}
	body, err := c.readBody(r)
	defer func() { c.release(body) }()
	if err != nil {
		return err
	}
	if !c.server.slots.enter() {
		return errRequests
	}
	c.last = r.Close
	c.enter(deciding, 0)
	c.decide(handler, body)
	if c.last {
		return errLast
	}
	return nil
}

// decide runs the handler. One that does not reply, or panics before, has failed.
func (c *conn) decide(handler Handler, body []byte) {
	defer c.reply(http.StatusInternalServerError, []byte("internal error\n"))
	defer c.server.logPanic()
	handler(body, c.reply)
}

// sendReply is the handler's answer; only the first one counts.
func (c *conn) sendReply(status int, text []byte) {
	if !c.take() {
		return
	}
	contentType := "application/json"
	if status != http.StatusOK {
		contentType = "text/plain; charset=utf-8"
	}
	c.last = c.last || status >= http.StatusInternalServerError || c.server.phase.Load() != serving
	c.out = appendAnswer(c.out[:0], status, contentType, "", text, c.last)
	if c.send(c.out) != nil {
		c.last = true
	}
}

// take moves c from deciding to answering, and reports whether it was deciding. Whoever has taken it writes the answer.
func (c *conn) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stage != deciding {
		return false
	}
	c.stage = answering
	c.server.slots.leave()
	return true
}

// enter begins a stage, in which the client may keep us waiting for limit.
func (c *conn) enter(s stage, limit time.Duration) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stage = s
	switch s {
	case idle, closing:
		c.since = now
	case reading:
		c.used = true
	}
	if limit > 0 && c.ended == nil {
		_ = c.Conn.SetReadDeadline(now.Add(limit)) // fails only on a closed connection, whose reads fail as well
	}
}

// interrupt ends the wait for the client, if there is one. What has come of a body is given up.
func (c *conn) interrupt(why *failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stage > reading || c.ended != nil {
		return
	}
	c.ended, c.since = why, time.Now()
	c.server.bodies.release(c.held)
	c.held = 0
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// readHead reads a request up to its body.
func (c *conn) readHead() (*http.Request, error) {
	r, err := http.ReadRequest(c.reader)
	if err != nil {
		return nil, c.readError(errSlow)
	}
	c.head.left = math.MaxInt
	return r, checkHead(r)
}

// readError says why a read from the client has failed; late is the answer to one that came too late.
func (c *conn) readError(late *failure) error {
	switch {
	case errors.Is(c.head.err, os.ErrDeadlineExceeded):
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ended != nil {
			return c.ended
		}
		return late
	case c.head.err != nil:
		return c.head.err // the client has gone
	case c.head.left <= 0:
		return errHeadTooLarge
	}
	return errMalformed
}

// headReader is what the bufio.Reader reads from. It bounds a head, and it keeps the error that http.ReadRequest hides.
type headReader struct {
	src  io.Reader
	left int // bytes that may still come
	err  error
}

func (h *headReader) Read(p []byte) (n int, err error) {
	if h.left <= 0 {
		return 0, io.EOF
	}
	n, h.err = h.src.Read(p[:min(len(p), h.left)])
	h.left -= n
	return n, h.err
}

// appendAnswer appends a whole answer to b.
func appendAnswer(b []byte, status int, contentType, header string, text []byte, last bool) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	b = append(b, "\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\nContent-Type: "...)
	b = append(b, contentType...)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(text)), 10)
	b = append(b, "\r\n"...)
	b = append(b, header...)
	if last {
		b = append(b, "Connection: close\r\n"...)
	}
	b = append(b, "\r\n"...)
	return append(b, text...)
}

func (c *conn) send(b []byte) error {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(c.server.timing.write)); err != nil {
		return err
	}
	_, err := c.tls.Write(b)
	return err
}

// end answers a failure. After a last answer it waits for the client to close: a close with unread bytes, or bytes that
// arrive after it, make the kernel send a reset, which may wipe the answer out of the client's receive buffer. So
// these bytes are read (RFC 9112, section 9.6), without decrypting them.
func (c *conn) end(err error) {
	c.enter(closing, 0)
	if f, ok := errors.AsType[*failure](err); ok {
		c.server.metrics.count(f)
		if c.send(f.answer()) == nil {
			err = errLast
		}
	}
	if err != errLast || c.tls.CloseWrite() != nil {
		return // the client has gone
	}
	_ = c.Conn.SetReadDeadline(time.Now().Add(c.server.timing.linger))
	_, _ = io.Copy(io.Discard, c.Conn) // ends with the client's close or the deadline; both are an end
}

// abandon closes c at the end of the drain, and answers for a handler that does not.
func (c *conn) abandon() {
	if c.take() {
		_ = c.send(errDraining.answer())
	}
	_ = c.Conn.Close()
}
