package server

import (
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// smallestBuffer holds most reviews of a pod.
	smallestBuffer = 16 << 10
	// trusted is how much has to arrive before the length that was announced is believed.
	trusted = 256 << 10
	// bodyRate is the slowest pace of a body, in bytes a second, that is not cut.
	bodyRate = 4 << 20
)

// buffers holds *[]byte of smallestBuffer; larger ones are rare and left to the garbage collector.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, smallestBuffer)
	return &b
}}

func newBuffer(size int) []byte {
	if size == smallestBuffer {
		return *buffers.Get().(*[]byte)
	}
	return make([]byte, 0, size)
}

// freeBuffer takes a buffer back. Nobody may use its bytes afterwards.
func freeBuffer(b []byte) {
	if cap(b) == smallestBuffer {
		b = b[:0]
		buffers.Put(&b)
	}
}

// readBody reads the body of r. Its buffer grows with what has arrived, not with what is announced, and its bytes are
// reserved as it grows. For n bytes the client has timing.body and a second per bodyRate. The buffer is
// returned with an error, too.
func (c *conn) readBody(r *http.Request) (body []byte, err error) {
	begin, limit := time.Now(), c.server.options.MaxBodyBytes
	if r.ContentLength != 0 && r.Header["Expect"] != nil {
		if err := c.send([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			return nil, err
		}
	}
	for {
		if len(body) == cap(body) && len(body) < limit {
			size := nextSize(cap(body), int(r.ContentLength), limit)
			if err := c.reserve(size, begin); err != nil {
				return body, err
			}
			larger := append(newBuffer(size), body...)
			freeBuffer(body)
			body = larger
		}
		room := body[len(body):cap(body)]
		if len(room) == 0 {
			room = c.probe[:] // nothing but the end may follow
		}
		n, err := r.Body.Read(room)
		if len(body)+n > limit {
			return body, errBodyTooLarge
		}
		body = body[:len(body)+n]
		if err == io.EOF {
			return body, nil
		}
		if err != nil {
			return body, c.readError(errSlow)
		}
	}
}

// nextSize returns the size of the buffer after one of the given size; a negative length was not announced.
func nextSize(size, announced, limit int) int {
	if size >= trusted && announced > size {
		return announced
	}
	return min(max(4*size, smallestBuffer), limit)
}

// reserve takes the bytes of a buffer of size instead of those held, for a body that began to arrive at begin, and sets when
// it is due. If they do not fit, slower senders are cut: those that have had a tenth of their time already.
func (c *conn) reserve(size int, begin time.Time) error {
	for {
		err, fits := c.tryReserve(size, begin)
		if fits || err != nil {
			return err
		}
		if !c.server.conns.cutSlowest(begin.Add(-c.server.timing.body/10), size > smallBody) {
			return errBytes
		}
	}
}

func (c *conn) tryReserve(size int, begin time.Time) (err error, fits bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return c.ended, false
	}
	if !c.server.bodies.grow(c.held, size) {
		return nil, false
	}
	c.held, c.began = size, begin
	return c.Conn.SetReadDeadline(begin.Add(c.server.timing.body + time.Duration(size)*time.Second/bodyRate)), true
}

// release gives the buffer and its bytes back.
func (c *conn) release(body []byte) {
	freeBuffer(body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server.bodies.release(c.held)
	c.held = 0
}
