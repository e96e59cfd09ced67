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
	// largestPooled is the largest buffer that is kept for later requests. Who has filled it is believed the length that
	// was announced.
	largestPooled = smallestBuffer << 4
	// bodyRate is the slowest pace of a body, in bytes a second, that is not cut.
	bodyRate = 4 << 20
)

// pools hold *[]byte of 16, 64 and 256 KiB. Without the larger two a call of 100 KiB costs 491 us of CPU instead of 280.
var pools [3]sync.Pool

// pool returns where buffers of that size are kept, or nil.
func pool(size int) *sync.Pool {
	for i := range pools {
		if size == smallestBuffer<<(2*i) {
			return &pools[i]
		}
	}
	return nil
}

func getBuffer(size int) []byte {
	if p := pool(size); p != nil {
		if b, ok := p.Get().(*[]byte); ok {
			return *b
		}
	}
	return make([]byte, 0, size)
}

// putBuffer takes a buffer back. Nobody may use its bytes afterwards.
func putBuffer(b []byte) {
	if p := pool(cap(b)); p != nil {
		b = b[:0]
		p.Put(&b)
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
			larger := append(getBuffer(size), body...)
			putBuffer(body)
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
	if size >= largestPooled && announced > size {
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
	putBuffer(body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server.bodies.release(c.held)
	c.held = 0
}
