package server

import (
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"

	"github.com/go-logr/logr"
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

// retryAfter is the Retry-After of every refusal, in seconds. client-go repeats a POST at most 10 times, and a pool of up
// to 25 idle connections may all lead to this pod: with 0 the ten attempts could be burnt here within a millisecond. After
// one second the farewell has emptied that pool, and within timeoutSeconds: 5 there are still four attempts.
const retryAfter = "1"

// Header values are shared and never written to, so that setting them allocates nothing.
var (
	closeValue      = []string{"close"}
	retryAfterValue = []string{retryAfter}
	textValue       = []string{"text/plain; charset=utf-8"}
	nosniffValue    = []string{"nosniff"}
)

// refusal is the text of the answer for each cause; the apiserver shows it when all its attempts were refused.
var refusal = [causes][]byte{
	causeNotReady: []byte("this replica is not ready yet, try another one\n"),
	causeDraining: []byte("this replica is shutting down, try another one\n"),
	causeRequests: []byte("this replica has too many requests in flight, try again\n"),
	causeBytes:    []byte("this replica holds too many bytes of request bodies, try again\n"),
}

// refusalLength is the Content-Length of each refusal: with it the answer needs no chunking and is complete in one packet.
var refusalLength = func() (lengths [causes][]string) {
	for c := range refusal {
		lengths[c] = []string{strconv.Itoa(len(refusal[c]))}
	}
	return lengths
}()

// gate stands before the admission handler and lets a request pass, or refuses it in a way that the apiserver repeats it.
type gate struct {
	handler http.Handler
	maxBody int64
	slots   slots
	bodies  budget
	ready   latch
	phase   atomic.Int32
	metrics *metrics
	log     logr.Logger
}

// ServeHTTP allocates nothing on the way to the handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := g.phase.Load()
	if now != serving {
		w.Header()["Connection"] = closeValue
	}
	if r.URL.Path != "/mutate" {
		http.NotFound(w, r)
		return
	}
	if now == refusing {
		g.refuse(w, causeDraining)
		return
	}
	if g.ready.err() != nil {
		g.refuse(w, causeNotReady)
		return
	}
	if !g.slots.enter() {
		g.refuse(w, causeRequests)
		return
	}
	defer g.slots.leave()
	size, bounded := g.bodySize(r)
	if !g.bodies.reserve(size) {
		g.refuse(w, causeBytes)
		return
	}
	defer g.bodies.release(size)
	if !bounded {
		r.Body = http.MaxBytesReader(w, r.Body, g.maxBody)
	}
	defer g.recover(w)
	g.handler.ServeHTTP(w, r)
}

// bodySize returns the bytes to reserve for the body of r, and whether net/http itself already holds the body to that
// size: it never hands out more than Content-Length. A chunked body may become as large as any.
func (g *gate) bodySize(r *http.Request) (size int64, bounded bool) {
	if r.ContentLength < 0 || r.ContentLength > g.maxBody {
		return g.maxBody, false
	}
	return r.ContentLength, true
}

// refuse answers 503 without reading the body. That the client sees the answer and not a reset is the work of net/http, which
// reads up to 256 KiB of the body after the handler, and of conn.CloseWrite for the rest.
func (g *gate) refuse(w http.ResponseWriter, c cause) {
	g.metrics.rejected[c].Inc()
	h := w.Header()
	h["Connection"] = closeValue
	h["Retry-After"] = retryAfterValue
	h["Content-Type"] = textValue
	h["X-Content-Type-Options"] = nosniffValue
	h["Content-Length"] = refusalLength[c]
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write(refusal[c]) // the client may be gone: nothing to tell it then
}

// recover turns a panic of the handler into a 500 for that call only. There is no Retry-After: the same review would panic
// again. The panic's value is logged only when it comes from the Go runtime; any other may quote the request body.
func (g *gate) recover(w http.ResponseWriter) {
	value := recover()
	if value == nil {
		return
	}
	if value == http.ErrAbortHandler {
		panic(value)
	}
	g.metrics.panics.Inc()
	reason := fmt.Sprintf("value of type %T", value)
	if err, ok := value.(runtime.Error); ok {
		reason = err.Error()
	}
	g.log.Error(nil, "admission handler panicked", "reason", reason, "stack", string(debug.Stack()))
	w.Header()["Connection"] = closeValue
	http.Error(w, "internal error", http.StatusInternalServerError)
}

// latch remembers the first success of a readiness check.
type latch struct {
	check func() error
	held  atomic.Bool
}

// err returns nil once the check has ever succeeded, and its error before that.
func (l *latch) err() error {
	if l.held.Load() {
		return nil
	}
	if err := l.check(); err != nil {
		return err
	}
	l.held.Store(true)
	return nil
}
