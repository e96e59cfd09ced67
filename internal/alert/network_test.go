package alert

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
)

// logs collects what all notifiers log, one line per call.
type logs struct {
	mu  sync.Mutex // guards out
	out bytes.Buffer
}

func (l *logs) logger() logr.Logger {
	return funcr.NewJSON(func(line string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.out.WriteString(line + "\n")
	}, funcr.Options{Verbosity: 10})
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

func (l *logs) count(text string) int { return strings.Count(l.String(), text) }

// pipeListener is a network without sockets: a bubble's clock stands still while
// a goroutine waits for the kernel, not while it waits for a pipe.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{} // closed by Close
	once   sync.Once
	delay  time.Duration // of each connection; set before the first
	failed atomic.Pointer[error]
}

// failWith makes every connection from now on fail.
func (l *pipeListener) failWith(err error) { l.failed.Store(&err) }

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := l.failed.Load(); err != nil {
		return nil, *err
	}
	client, server := net.Pipe()
	time.Sleep(l.delay)
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error { l.once.Do(func() { close(l.closed) }); return nil }

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "robot"} }
