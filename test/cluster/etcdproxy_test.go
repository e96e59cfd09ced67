package cluster

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// echoServer answers every connection with what it is sent.
func echoServer(t *testing.T) net.Listener {
	t.Helper()
	listener := localListener(t)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return listener
}

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
	etcd, front := echoServer(t), localListener(t)
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
	proxy.withhold()
	if !ask(pods, "more", 5*time.Second) {
		t.Error("the other resource: no answer while the first is withheld")
	}
	if ask(hooks, "news", 100*time.Millisecond) {
		t.Error("the resource: an answer although it is withheld")
	}
	proxy.deliver()
	proxy.deliver() // again is fine
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
