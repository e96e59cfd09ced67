package cluster

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
)

// Names of the control plane's daemons, for StopDaemon and StartDaemon.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
)

// Audit names, for LogPath, the apiserver's log of what pods ask of it: one JSON
// object of audit.k8s.io/v1 per line.
const Audit = "audit"

// controlPlane is the cgroup of the control plane's daemons.
const controlPlane = "control-plane"

// controlPlaneDaemon describes one of the four daemons. They are alone, so no
// leader is elected; the limits are far above the defaults, so that a StatefulSet
// of hundreds of pods rolls out as fast as the machine allows.
func (c *Cluster) controlPlaneDaemon(name string) (daemon, bool) {
	pki := c.path("pki")
	argv := map[string][]string{
		Etcd: {
			"--data-dir=" + c.path("etcd"), "--unsafe-no-fsync", "--log-level=warn",
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380",
		},
		APIServer: {
			"--etcd-servers=http://127.0.0.1:2379",
			"--advertise-address=" + nodeIP(1), "--secure-port=" + apiserverPort,
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
			"--audit-policy-file=" + c.path("config", "audit.yaml"), "--audit-log-path=" + c.LogPath(Audit),
			"--max-requests-inflight=1600", "--max-mutating-requests-inflight=800",
			"--profiling=false",
		},
		ControllerManager: {
			"--kubeconfig=" + pki + "/kube-controller-manager.kubeconfig",
			"--authentication-kubeconfig=" + pki + "/kube-controller-manager.kubeconfig",
			"--authorization-kubeconfig=" + pki + "/kube-controller-manager.kubeconfig",
			"--authentication-skip-lookup", "--leader-elect=false", "--use-service-account-credentials",
			"--service-account-private-key-file=" + pki + "/service-account.key",
			"--root-ca-file=" + pki + "/ca.crt",
			"--kube-api-qps=500", "--kube-api-burst=1000", "--concurrent-statefulset-syncs=20",
			"--profiling=false",
		},
		Scheduler: {
			"--config=" + c.path("config", "kube-scheduler.yaml"), "--authentication-skip-lookup",
			"--authentication-kubeconfig=" + pki + "/kube-scheduler.kubeconfig",
			"--authorization-kubeconfig=" + pki + "/kube-scheduler.kubeconfig",
		},
	}[name]
	if argv == nil {
		return daemon{}, false
	}
	return daemon{
		name: name, group: controlPlane, netns: c.netns(nodeName(1)),
		argv: append([]string{filepath.Join(c.binaries, name)}, argv...),
	}, true
}

// startControlPlane returns when the apiserver is ready. The others are started
// after it: they give up on an apiserver that does not answer.
func (c *Cluster) startControlPlane(ctx context.Context) error {
	for _, name := range []string{Etcd, APIServer} {
		if err := c.StartDaemon(ctx, name); err != nil {
			return err
		}
	}
	if err := c.waitAPIServer(ctx); err != nil {
		return err
	}
	for _, name := range []string{ControllerManager, Scheduler} {
		if err := c.StartDaemon(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// waitAPIServer polls /readyz, and fails as soon as the apiserver or etcd ends.
func (c *Cluster) waitAPIServer(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		return fmt.Errorf("create client: %w", err)
	}
	err = poll(ctx, 100*time.Millisecond, func() (bool, error) {
		for _, name := range []string{Etcd, APIServer} {
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
		return fmt.Errorf("wait for the apiserver: %w", err)
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
	return c.waitAPIServer(ctx)
}
