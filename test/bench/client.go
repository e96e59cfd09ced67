package main

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
	"sync"
	"time"
)

// dialer is how the client reaches pods.
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
func newCaller(ctx context.Context, dial dialer, address string, connections int, body []byte) (*caller, error) {
	head := fmt.Sprintf("POST /mutate?timeout=5s HTTP/1.1\r\nHost: sts-webhook.custom-system.svc:8443\r\nUser-Agent: kube-apiserver-admission\r\n"+
		"Content-Length: %d\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n", len(body))
	c := &caller{request: append([]byte(head), body...)}
	for range connections {
		raw, err := dial(ctx, "tcp", address)
		if err != nil {
			c.close()
			return nil, fmt.Errorf("connect to %s: %w", address, err)
		}
		// The certificate is not verified: that is work of the client alone.
		conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}})
		c.conns = append(c.conns, &connection{Conn: conn, reader: bufio.NewReader(conn)})
		if err := conn.HandshakeContext(ctx); err != nil {
			c.close()
			return nil, fmt.Errorf("connect to %s: %w", address, err)
		}
	}
	return c, nil
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

// latencies of calls, in no order.
type latencies []time.Duration

// percentile is the p-th one, 0 to 100; zero when there are none.
func (l latencies) percentile(p float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(l))
	return sorted[min(len(sorted)-1, int(p/100*float64(len(sorted))))]
}

// flood keeps every connection busy for a while.
func (c *caller) flood(d time.Duration) (latencies, error) {
	end := time.Now().Add(d)
	return c.each(func(conn *connection, record func(time.Duration)) error {
		for {
			begin := time.Now()
			if !begin.Before(end) {
				return nil
			}
			if err := c.call(conn); err != nil {
				return err
			}
			record(time.Since(begin))
		}
	})
}

// pace makes calls at a steady rate, however long each takes. A latency counts
// from when the call was handed out, the wait for a free connection included;
// what the client's timer was late is the same for every server and left out.
func (c *caller) pace(d time.Duration, rate int) (latencies, error) {
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
	return c.each(func(conn *connection, record func(time.Duration)) error {
		for begin := range due {
			if err := c.call(conn); err != nil {
				return err
			}
			record(time.Since(begin))
		}
		return nil
	})
}

// each runs work on every connection at once and gathers what it records.
func (c *caller) each(work func(conn *connection, record func(time.Duration)) error) (latencies, error) {
	results, errs := make([]latencies, len(c.conns)), make([]error, len(c.conns))
	var all sync.WaitGroup
	for i, conn := range c.conns {
		all.Go(func() {
			errs[i] = work(conn, func(d time.Duration) { results[i] = append(results[i], d) })
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(results...), nil
}
