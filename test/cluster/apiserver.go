package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// SecondAPIServer is a second kube-apiserver on the same etcd, see
// StartSecondAPIServer; SecondAudit names its audit log.
const (
	SecondAPIServer = "kube-apiserver-2"
	SecondAudit     = "audit-2"
)

const secondAPIServerPort = "6444"

// Addresses in the control plane's network.
const (
	etcdAddress      = "127.0.0.1:2379"
	etcdProxyAddress = "127.0.0.1:12379"
)

func (c *Cluster) apiserverArgs(port, etcd, auditLog string) []string {
	pki := c.path("pki")
	return []string{
		"--etcd-servers=http://" + etcd,
		"--advertise-address=" + nodeIP(1), "--secure-port=" + port,
		"--service-cluster-ip-range=" + serviceCIDR,
		"--client-ca-file=" + pki + "/ca.crt",
		"--tls-cert-file=" + pki + "/kube-apiserver.crt", "--tls-private-key-file=" + pki + "/kube-apiserver.key",
		"--kubelet-certificate-authority=" + pki + "/ca.crt",
		"--kubelet-client-certificate=" + pki + "/kube-apiserver.crt",
		"--kubelet-client-key=" + pki + "/kube-apiserver.key",
		"--kubelet-preferred-address-types=InternalIP",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + pki + "/service-account.key",
		"--service-account-signing-key-file=" + pki + "/service-account.key",
		"--audit-policy-file=" + c.path("config", "audit.yaml"), "--audit-log-path=" + auditLog,
		"--max-requests-inflight=1600", "--max-mutating-requests-inflight=800",
		"--profiling=false",
	}
}

// waitAPIServer polls /readyz of the apiserver with that name, and fails as soon as
// it or etcd ends.
func (c *Cluster) waitAPIServer(ctx context.Context, name string, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("create client: %w", err)
	}
	err = poll(ctx, 100*time.Millisecond, func() (bool, error) {
		for _, name := range []string{Etcd, name} {
			if !c.alive(name) {
				return false, fmt.Errorf("%s ended:\n%s", name, c.logTail(name))
			}
		}
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(attempt)
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w", name, err)
	}
	return nil
}

// StopAPIServer kills the apiserver; nodes and pods go on. Asked to end, it would wait
// a minute for the watches of its clients.
func (c *Cluster) StopAPIServer(ctx context.Context) error { return c.KillDaemon(ctx, APIServer) }

// StartAPIServer starts the apiserver again and returns when it is ready.
func (c *Cluster) StartAPIServer(ctx context.Context) error {
	if err := c.StartDaemon(ctx, APIServer); err != nil {
		return err
	}
	return c.waitAPIServer(ctx, APIServer, c.RESTConfig())
}

// Second is a second kube-apiserver beside the first, as a control plane of several
// machines has it. Nodes and pods know the first one only.
type Second struct {
	// Config is the administrator's way to it.
	Config  *rest.Config
	cluster *Cluster
	proxy   *etcdProxy
}

// StartSecondAPIServer returns when the second apiserver is ready. It is no part of a
// healthy cluster, and lives no longer than this process: end it with Kill. Of the
// resource whose keys in etcd hold key, etcd's news can be withheld from it.
func (c *Cluster) StartSecondAPIServer(ctx context.Context, key string) (*Second, error) {
	s := &Second{Config: c.RESTConfig(), cluster: c}
	s.Config.Host = "https://" + nodeIP(1) + ":" + secondAPIServerPort
	listener, err := c.listenForEtcd()
	if err != nil {
		return nil, err
	}
	s.proxy = startEtcdProxy(listener, c.Dialer(nodeName(1)), key)
	if err := c.StartDaemon(ctx, SecondAPIServer); err != nil {
		return nil, errors.Join(err, s.Kill(ctx))
	}
	if err := c.waitAPIServer(ctx, SecondAPIServer, s.Config); err != nil {
		return nil, errors.Join(err, s.Kill(ctx))
	}
	return s, nil
}

// Withhold lets the apiserver go on without news of the resource until Deliver.
func (s *Second) Withhold() { s.proxy.withhold() }

// Deliver undoes Withhold.
func (s *Second) Deliver() { s.proxy.deliver() }

// Pause stops the apiserver where it is (SIGSTOP): its connections stay open, and
// nobody answers on them.
func (s *Second) Pause() error { return s.cluster.signal(SecondAPIServer, unix.SIGSTOP) }

// Continue undoes Pause.
func (s *Second) Continue() error { return s.cluster.signal(SecondAPIServer, unix.SIGCONT) }

// Kill ends the apiserver.
func (s *Second) Kill(ctx context.Context) error {
	s.Deliver()
	return errors.Join(s.cluster.KillDaemon(ctx, SecondAPIServer), s.proxy.listener.Close())
}

// signal sends a signal to a daemon that must run.
func (c *Cluster) signal(name string, signal unix.Signal) error {
	pid, ok := c.pid(name)
	if !ok {
		return fmt.Errorf("signal %s: it does not run", name)
	}
	if err := unix.Kill(pid, signal); err != nil {
		return fmt.Errorf("signal %s: %w", name, err)
	}
	return nil
}
