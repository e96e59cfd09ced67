package cluster

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

func localListener(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

func TestEtcdProxyWithholdsTheNewsOfOneResource(t *testing.T) {
	etcd, front := localListener(t), localListener(t)
	go func() { // it answers every connection with what it receives
		for conn, err := etcd.Accept(); err == nil; conn, err = etcd.Accept() {
			go func() { _, _ = io.Copy(conn, conn) }()
		}
	}()
	proxy := startEtcdProxy(front, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return net.Dial(network, etcd.Addr().String())
	}, "/hooks/")
	open := func() net.Conn {
		conn, err := net.Dial("tcp", front.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	// ask sends a text and reports whether the answer came within the time.
	ask := func(conn net.Conn, text string, within time.Duration) bool {
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return answered(t, conn, text, within)
	}
	hooks, pods := open(), open()
	for _, part := range []string{"watch /registry/ho", "oks/a and /hoo", "ks/b"} { // a key in two pieces
		if !ask(hooks, part, 5*time.Second) {
			t.Fatalf("%q: no answer while nothing is withheld", part)
		}
	}
	if !ask(pods, "watch /registry/pods/", 5*time.Second) {
		t.Fatal("the other resource: no answer while nothing is withheld")
	}
	proxy.withhold(true)
	if !ask(pods, "more", 5*time.Second) {
		t.Error("the other resource: no answer while the first is withheld")
	}
	if ask(hooks, "news", 100*time.Millisecond) {
		t.Error("the resource: an answer although it is withheld")
	}
	proxy.withhold(false)
	proxy.withhold(false) // again is fine
	if !answered(t, hooks, "news", 5*time.Second) {
		t.Error("the resource: what was withheld was not delivered")
	}
}

func answered(t *testing.T, conn net.Conn, want string, within time.Duration) bool {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil {
		if n > 0 {
			t.Fatalf("got a part of the answer, %q", got[:n])
		}
		return false
	}
	if string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	return true
}
