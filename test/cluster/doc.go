// Package cluster brings up a real Kubernetes on one Linux machine, as root: etcd,
// kube-apiserver, controller-manager, scheduler and three nodes, each with its own
// kubelet, containerd, kube-proxy and network. No container engine, registry or
// download of images is needed.
//
// A node is three things of the kernel, and all of them are named after the
// cluster, so that clusters of different names do not meet:
//
//   - a network namespace (sts-NAME-node-1, ...) with the node's address. The first
//     also holds the control plane and the bridge that joins the nodes. None has a
//     route to the machine, so load and mistakes stay inside, and all clusters use
//     the same addresses.
//   - a mount namespace, held by the node's first process. What kubelets and
//     containers mount is never seen by the machine and ends with the node.
//   - a cgroup (sts-webhook-test-NAME/node-1, ...) that holds every process of the
//     node. Down kills what is in the cluster's cgroups and nothing else, so it
//     works after any crash and needs no list of processes.
//
// Keys, configuration and logs are in /var/lib/sts-webhook-test/NAME. Kubernetes
// itself is built once from the Go modules pinned in the kubernetes directory and
// kept in the user's cache directory.
//
// There is no DNS server: in a pod, KUBERNETES_SERVICE_HOST and the addresses of
// Services work, names do not.
package cluster
