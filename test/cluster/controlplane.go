package cluster

import (
	"context"
	"path/filepath"
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

// controlPlaneDaemon describes one of the daemons. They are alone, so no leader is
// elected; the limits are far above the defaults, so that a StatefulSet of hundreds
// of pods rolls out as fast as the machine allows.
func (c *Cluster) controlPlaneDaemon(name string) (daemon, bool) {
	pki := c.path("pki")
	program, argv := name, map[string][]string{
		Etcd: {
			"--data-dir=" + c.path("etcd"), "--unsafe-no-fsync", "--log-level=warn",
			"--listen-client-urls=http://" + etcdAddress, "--advertise-client-urls=http://" + etcdAddress,
			"--listen-peer-urls=http://127.0.0.1:2380",
		},
		APIServer:       c.apiserverArgs(apiserverPort, etcdAddress, c.LogPath(Audit)),
		SecondAPIServer: append(c.apiserverArgs(secondAPIServerPort, etcdProxyAddress, c.LogPath(SecondAudit)), "--endpoint-reconciler-type=none"),
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
	if name == SecondAPIServer {
		program = APIServer
	}
	return daemon{
		name: name, group: controlPlane, netns: c.netns(nodeName(1)),
		argv: append([]string{filepath.Join(c.binaries, program)}, argv...),
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
	if err := c.waitAPIServer(ctx, APIServer, c.RESTConfig()); err != nil {
		return err
	}
	for _, name := range []string{ControllerManager, Scheduler} {
		if err := c.StartDaemon(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
