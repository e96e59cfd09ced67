package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
)

// newTLSConfig allows TLS 1.3 and HTTP/1.1 alone: kube-apiserver speaks both to webhooks, and over HTTP/2 one connection
// would carry all its requests to one replica (kubernetes issue 75791).
//
// Session tickets are off. kube-apiserver never resumes a session (client-go sets no ClientSessionCache), so they gain
// nothing; and a resumed session shows no certificate, so a client that does resume would prove the trust of yesterday.
func newTLSConfig(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{"http/1.1"},
		GetCertificate:         get,
		SessionTicketsDisabled: true,
		// crypto/tls calls this with the whole ClientHello, before anything expensive.
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			hello.Conn.(*conn).beginComputing()
			return nil, nil
		},
	}
}

// beginComputing waits for a place among the handshakes that compute. A thousand at once would otherwise make every
// admission wait for all of them. A place is given back when the server's part is written, so no client can hold one.
func (c *conn) beginComputing() {
	c.server.handshakes <- struct{}{}
	c.computing = true
}

func (c *conn) endComputing() {
	if c.computing {
		c.computing = false
		<-c.server.handshakes
	}
}

// Write is called by crypto/tls.
func (c *conn) Write(p []byte) (int, error) {
	c.endComputing()
	return c.Conn.Write(p)
}

func (c *conn) handshake() error {
	defer c.endComputing()
	err := c.tls.Handshake()
	// A connection closed without a byte is a TCP probe or a port scan, no TLS client that failed.
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return err
	}
	failure := classify(err)
	c.server.metrics.handshake[failure].Inc()
	c.server.options.Log.V(1).Info("tls handshake failed", "cause", handshakeLabel[failure], "remote", c.RemoteAddr().String(), "error", err.Error())
	return err
}

// classify tells the causes of a failed handshake apart. A client that refuses our certificate says so with an alert whose
// type crypto/tls does not export; all of its texts about certificates hold that word.
func classify(err error) handshakeFailure {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" && strings.Contains(op.Err.Error(), "certificate") {
		return handshakeUntrusted
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return handshakeTimeout
	}
	return handshakeOther
}
