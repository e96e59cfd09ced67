package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sts-mutating-webhook/test/kit"
)

// dialer is how the client reaches servers.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// caller sends one request again and again over kept-alive connections, as
// kube-apiserver does, but with as little work of its own as possible: it shares
// the machine with the server.
type caller struct {
	request []byte
	conns   []*connection
}

type connection struct {
	*tls.Conn
	reader *bufio.Reader
}

// newCaller connects. The request is the one that kube-apiserver sends.
func newCaller(t *testing.T, dial dialer, address string, connections int, body []byte) *caller {
	t.Helper()
	head := fmt.Sprintf("POST /mutate?timeout=5s HTTP/1.1\r\nHost: sts-webhook.custom-system.svc:8443\r\nUser-Agent: kube-apiserver-admission\r\n"+
		"Content-Length: %d\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n", len(body))
	c := &caller{request: append([]byte(head), body...)}
	for range connections {
		raw, err := dial(t.Context(), "tcp", address)
		kit.Must(t, err)
		// The certificate is not verified: that is work of the client alone.
		conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}})
		kit.Must(t, conn.HandshakeContext(t.Context()))
		c.conns = append(c.conns, &connection{Conn: conn, reader: bufio.NewReader(conn)})
	}
	return c
}

func (c *caller) close() {
	for _, conn := range c.conns {
		_ = conn.NetConn().Close() // nothing is under way
	}
}

// call makes one call and checks that its answer changes the pod.
func (c *caller) call(conn *connection) error {
	if _, err := conn.Write(c.request); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	response, err := http.ReadResponse(conn.reader, nil)
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if response.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"patch"`)) {
		return fmt.Errorf("call: got %s %s", response.Status, body[:min(len(body), 300)])
	}
	return nil
}

// flood keeps every connection busy for a while.
func (c *caller) flood(d time.Duration) ([]time.Duration, error) {
	end := time.Now().Add(d)
	return c.calls(func() (time.Time, bool) {
		now := time.Now()
		return now, now.Before(end)
	})
}

// pace makes calls at a steady rate, however long each takes. A latency counts
// from when the call was handed out, the wait for a free connection included;
// what the client's timer was late is the same for every server and left out.
func (c *caller) pace(d time.Duration, rate int) ([]time.Duration, error) {
	due := make(chan time.Time, rate*int(d/time.Second+1)) // never blocks the clock
	go func() {
		defer close(due)
		ticker := time.NewTicker(time.Second / time.Duration(rate))
		defer ticker.Stop()
		for range int(d.Seconds() * float64(rate)) {
			<-ticker.C
			due <- time.Now()
		}
	}()
	return c.calls(func() (time.Time, bool) {
		begin, more := <-due
		return begin, more
	})
}

// calls makes calls over every connection at once while next says so, and gathers how long they took since the times of next.
func (c *caller) calls(next func() (time.Time, bool)) ([]time.Duration, error) {
	results := make([][]time.Duration, len(c.conns))
	var all errgroup.Group
	for i, conn := range c.conns {
		all.Go(func() error {
			for begin, more := next(); more; begin, more = next() {
				if err := c.call(conn); err != nil {
					return err
				}
				results[i] = append(results[i], time.Since(begin))
			}
			return nil
		})
	}
	err := all.Wait()
	return slices.Concat(results...), err
}
