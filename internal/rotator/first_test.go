package rotator

import (
	"crypto/tls"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestAHandshakeWaitsForTheFirstCertificate(t *testing.T) {
	leaf := fixtures().settled.leaf
	for name, c := range map[string]struct {
		comes time.Duration
		ok    bool
	}{
		"it comes in time":  {time.Second, true},
		"it comes too late": {firstCertificateWait + time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := New(Options{Namespace: "test", Policy: testPolicy})
				ours, theirs := net.Pipe()
				defer ours.Close()
				defer theirs.Close()
				done := make(chan error, 1)
				go func() { done <- tls.Server(ours, &tls.Config{GetCertificate: r.GetCertificate}).Handshake() }()
				go func() { _ = tls.Client(theirs, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
				time.Sleep(c.comes) // of the bubble
				r.serving.Store(leaf)
				close(r.served)
				if err := <-done; (err == nil) != c.ok {
					t.Errorf("handshake: %v", err)
				}
			})
		})
	}
}
