package cluster

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// etcdProxy stands between an apiserver and etcd. It can keep back what etcd sends on
// the connections that one resource is watched on: kube-apiserver has connections of
// its own for each resource. To the apiserver, nothing changes then.
type etcdProxy struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	// key is a part of the resource's keys in etcd.
	key []byte

	// gate is locked while withheld: what etcd sends about the resource must pass it.
	gate     sync.RWMutex
	withheld atomic.Bool
}

// startEtcdProxy serves until the listener is closed.
func startEtcdProxy(listener net.Listener, dial func(context.Context, string, string) (net.Conn, error), key string) *etcdProxy {
	p := &etcdProxy{dial: dial, key: []byte(key)}
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			go p.serve(conn)
		}
	}()
	return p
}

// withhold keeps back what etcd sends from now on, or delivers it.
func (p *etcdProxy) withhold(withheld bool) {
	switch {
	case p.withheld.Swap(withheld) == withheld:
	case withheld:
		p.gate.Lock()
	default:
		p.gate.Unlock()
	}
}

// pass returns when nothing is withheld.
func (p *etcdProxy) pass() {
	p.gate.RLock()
	defer p.gate.RUnlock()
}

// serve copies in both directions until either side closes.
func (p *etcdProxy) serve(apiserver net.Conn) {
	defer apiserver.Close()
	etcd, err := p.dial(context.Background(), "tcp", etcdAddress)
	if err != nil {
		return // the apiserver tries again
	}
	defer etcd.Close()
	requests := &keyFinder{key: p.key}
	go func() {
		defer etcd.Close()
		_, _ = io.Copy(io.MultiWriter(requests, etcd), apiserver)
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := etcd.Read(buffer)
		if requests.found.Load() {
			p.pass()
		}
		if _, failed := apiserver.Write(buffer[:n]); failed != nil || err != nil {
			return
		}
	}
}

// keyFinder looks for a key in what is written to it.
type keyFinder struct {
	key   []byte
	found atomic.Bool
	// tail is the end of what was written, in case a key is split.
	tail []byte
}

func (f *keyFinder) Write(p []byte) (int, error) {
	if !f.found.Load() {
		text := append(f.tail, p...)
		f.found.Store(bytes.Contains(text, f.key))
		f.tail = bytes.Clone(text[max(0, len(text)-len(f.key)):])
	}
	return len(p), nil
}
