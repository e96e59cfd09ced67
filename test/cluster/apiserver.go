package cluster

import (
	"context"
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

func (c *Cluster) apiserverArgs(port, auditLog string) []string {
	pki := c.path("pki")
	return []string{
		"--etcd-servers=http://127.0.0.1:2379",
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

// StartSecondAPIServer starts a second kube-apiserver beside the first, as a control
// plane of several machines has it, and returns the administrator's way to it when it
// is ready. Nodes and pods know the first one only. It is no part of a healthy
// cluster: end it with KillDaemon(ctx, SecondAPIServer).
func (c *Cluster) StartSecondAPIServer(ctx context.Context) (*rest.Config, error) {
	config := c.RESTConfig()
	config.Host = "https://" + nodeIP(1) + ":" + secondAPIServerPort
	if err := c.StartDaemon(ctx, SecondAPIServer); err != nil {
		return nil, err
	}
	return config, c.waitAPIServer(ctx, SecondAPIServer, config)
}

// PauseDaemon stops a daemon where it is (SIGSTOP): its connections stay open, and
// nobody answers on them.
func (c *Cluster) PauseDaemon(name string) error { return c.signal(name, unix.SIGSTOP) }

// ContinueDaemon lets a paused daemon go on.
func (c *Cluster) ContinueDaemon(name string) error { return c.signal(name, unix.SIGCONT) }

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
