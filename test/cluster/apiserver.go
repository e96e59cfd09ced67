package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"
)

// Second is a second kube-apiserver beside the first, as a control plane of several
// machines has it. Nodes and pods know the first one only.
type Second struct {
	// Config is the administrator's way to it.
	Config   *rest.Config
	cluster  *Cluster
	proxy    *etcdProxy
	listener net.Listener
}

// StartSecondAPIServer returns when the second apiserver is ready. It is no part of a
// healthy cluster, and lives no longer than this process: end it with Kill. Of the
// resource whose keys in etcd hold key, etcd's news can be withheld from it.
func (c *Cluster) StartSecondAPIServer(ctx context.Context, key string) (*Second, error) {
	listener, err := c.Listen("node-1", "tcp", etcdProxyAddress)
	if err != nil {
		return nil, fmt.Errorf("listen in place of etcd: %w", err)
	}
	s := &Second{Config: c.configOf(SecondAPIServer), cluster: c, listener: listener}
	s.proxy = startEtcdProxy(listener, c.Dialer("node-1"), key)
	if err := c.StartDaemon(ctx, SecondAPIServer); err != nil {
		return nil, errors.Join(err, s.Kill(ctx))
	}
	return s, nil
}

// Withhold lets the apiserver go on without news of the resource until Deliver.
func (s *Second) Withhold() { s.proxy.withhold(true) }

// Deliver undoes Withhold: what was kept back arrives, and all that comes after it.
func (s *Second) Deliver() { s.proxy.withhold(false) }

// Pause stops the apiserver where it is (SIGSTOP): its connections stay open, and
// nobody answers on them.
func (s *Second) Pause() error { return s.cluster.signal(SecondAPIServer, unix.SIGSTOP) }

// Continue undoes Pause.
func (s *Second) Continue() error { return s.cluster.signal(SecondAPIServer, unix.SIGCONT) }

// Kill ends the apiserver.
func (s *Second) Kill(ctx context.Context) error {
	s.Deliver()
	return errors.Join(s.cluster.KillDaemon(ctx, SecondAPIServer), s.listener.Close())
}
