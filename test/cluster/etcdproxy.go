package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
)

// etcdProxy stands between an apiserver and etcd. It can keep back what etcd sends on
// the connections that one resource is watched on: kube-apiserver has connections of
// its own for each resource. To the apiserver, nothing changes then.
type etcdProxy struct {
	listener net.Listener
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	// key is a part of the resource's keys in etcd.
	key []byte

	// mu guards gate.
	mu sync.Mutex
	// gate is closed while nothing is kept back.
	gate chan struct{}
}

// startEtcdProxy serves until the listener is closed.
func startEtcdProxy(listener net.Listener, dial func(context.Context, string, string) (net.Conn, error), key string) *etcdProxy {
	p := &etcdProxy{listener: listener, dial: dial, key: []byte(key), gate: make(chan struct{})}
	close(p.gate)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(conn)
		}
	}()
	return p
}

// withhold keeps back what etcd sends from now on.
func (p *etcdProxy) withhold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = make(chan struct{})
}

// deliver sends what was kept back, and all that comes after it.
func (p *etcdProxy) deliver() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gate:
	default:
		close(p.gate)
	}
}

func (p *etcdProxy) gateNow() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gate
}

// serve copies in both directions until either side closes.
func (p *etcdProxy) serve(apiserver net.Conn) {
	defer apiserver.Close()
	etcd, err := p.dial(context.Background(), "tcp", etcdAddress)
	if err != nil {
		return // the apiserver tries again
	}
	defer etcd.Close()
	named := make(chan struct{}) // closed once the apiserver has named a key of the resource
	go func() {
		defer etcd.Close()
		_, _ = io.Copy(etcd, &keyReader{source: apiserver, key: p.key, found: func() { close(named) }})
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := etcd.Read(buffer)
		select {
		case <-named:
			<-p.gateNow()
		default:
		}
		if _, failed := apiserver.Write(buffer[:n]); failed != nil || err != nil {
			return
		}
	}
}

// keyReader calls found once, when key has been read.
type keyReader struct {
	source io.Reader
	key    []byte
	found  func()
	// tail is the end of what was read, in case a key is split.
	tail []byte
}

func (r *keyReader) Read(p []byte) (int, error) {
	n, err := r.source.Read(p)
	if r.found == nil {
		return n, err
	}
	text := append(r.tail, p[:n]...)
	if bytes.Contains(text, r.key) {
		r.found()
		r.found = nil
	}
	r.tail = bytes.Clone(text[max(0, len(text)-len(r.key)):])
	return n, err
}

// listenForEtcd opens the address that the second apiserver takes for etcd's.
func (c *Cluster) listenForEtcd() (net.Listener, error) {
	listener, err := c.Listen(nodeName(1), "tcp", etcdProxyAddress)
	if err != nil {
		return nil, fmt.Errorf("listen in place of etcd: %w", err)
	}
	return listener, nil
}
