package mutator

import (
	"io"
	"sync"
)

const (
	// minBuffer is the smallest buffer made for a body, in bytes: most
	// reviews of a pod fit.
	minBuffer = 16 << 10
	// maxPooled is the largest buffer that is made on the word of a
	// Content-Length alone, and that is kept for later requests. A larger one
	// goes back to the collector after its request.
	maxPooled = 128 << 10
	// maxAnnounced is the largest Content-Length, in bytes, that a buffer is
	// made for in one step. The server's limit for bodies is 7 MiB: twice what
	// the API server takes from a client (3 MiB), with room to spare. A larger
	// announcement is not believed; its body would be cut off by the server.
	maxAnnounced = 8 << 20
)

// buffers holds *[]byte of at most maxPooled capacity.
var buffers sync.Pool

// getBuffer returns an empty buffer for a body of the announced length; a
// negative length is unknown.
func getBuffer(contentLength int64) *[]byte {
	// One byte more than the body, for the read that finds its end.
	size := int(min(max(contentLength+1, minBuffer), maxPooled))
	if b, ok := buffers.Get().(*[]byte); ok && cap(*b) >= size {
		return b
	}
	b := make([]byte, 0, size)
	return &b
}

// putBuffer takes a buffer back. Nobody may use its bytes afterwards.
func putBuffer(b *[]byte) {
	if cap(*b) > maxPooled {
		return
	}
	*b = (*b)[:0]
	buffers.Put(b)
}

// readAll appends everything that r yields to b. Its cost is linear in the
// length: a full buffer doubles, or grows to the announced length at once: a
// sender that has filled maxPooled bytes is believed up to maxAnnounced.
func readAll(b []byte, r io.Reader, contentLength int64) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			size := 2*cap(b) + minBuffer
			if int64(len(b)) <= contentLength && contentLength <= maxAnnounced {
				size = int(contentLength) + 1
			}
			larger := make([]byte, len(b), size)
			copy(larger, b)
			b = larger
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}
