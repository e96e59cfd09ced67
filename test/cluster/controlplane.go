package cluster

// Names of the control plane's daemons, for StopDaemon and StartDaemon.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	// SecondAPIServer is a second kube-apiserver on the same etcd, see StartSecondAPIServer.
	SecondAPIServer = "kube-apiserver-2"
)

// Audit names, for LogPath, the apiserver's log of what pods ask of it: one JSON
// object of audit.k8s.io/v1 per line.
const Audit = "audit"

// controlPlane is the cgroup of the control plane's daemons.
const controlPlane = "control-plane"

// controlPlaneDaemons are those of every cluster, in the order in which they start: the
// last two give up on an apiserver that does not answer.
var controlPlaneDaemons = []string{Etcd, APIServer, ControllerManager, Scheduler}

// Addresses in the control plane's network.
const (
	apiserverPort       = "6443"
	secondAPIServerPort = "6444"
	etcdAddress         = "127.0.0.1:2379"
	etcdProxyAddress    = "127.0.0.1:12379"
)

// controlPlaneArgs is the command line of one of the daemons; nil when there is none of
// that name. They are alone, so no leader is elected; the limits are far above the
// defaults, so that a StatefulSet of hundreds of pods rolls out as fast as the machine allows.
func (c *Cluster) controlPlaneArgs(name string) []string {
	pki := c.path("pki")
	return map[string][]string{
		Etcd: {
			c.path("bin", Etcd),
			"--data-dir=" + c.path("etcd"), "--unsafe-no-fsync", "--log-level=warn",
			"--listen-client-urls=http://" + etcdAddress, "--advertise-client-urls=http://" + etcdAddress,
			"--listen-peer-urls=http://127.0.0.1:2380",
		},
		APIServer:       c.apiserverArgs(apiserverPort, etcdAddress, Audit),
		SecondAPIServer: append(c.apiserverArgs(secondAPIServerPort, etcdProxyAddress, "audit-2"), "--endpoint-reconciler-type=none"),
		ControllerManager: {
			c.path("bin", ControllerManager),
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
			c.path("bin", Scheduler),
			"--config=" + c.path("config", "kube-scheduler.yaml"), "--authentication-skip-lookup",
			"--authentication-kubeconfig=" + pki + "/kube-scheduler.kubeconfig",
			"--authorization-kubeconfig=" + pki + "/kube-scheduler.kubeconfig",
		},
	}[name]
}

func (c *Cluster) apiserverArgs(port, etcd, audit string) []string {
	pki := c.path("pki")
	return []string{
		c.path("bin", APIServer),
		"--etcd-servers=http://" + etcd,
		"--advertise-address=" + controlPlaneIP, "--secure-port=" + port,
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
		"--audit-policy-file=" + c.path("config", "audit.yaml"), "--audit-log-path=" + c.LogPath(audit),
		"--max-requests-inflight=1600", "--max-mutating-requests-inflight=800",
		"--profiling=false",
	}
}
