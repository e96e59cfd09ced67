package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Names of a node's daemons; the record of node-2's kubelet is "node-2.kubelet".
const (
	nodeInit  = "init"
	Runtime   = "containerd"
	Kubelet   = "kubelet"
	KubeProxy = "kube-proxy"
)

// bootNode is the script of a node's first process. It gives the node its own
// mounts: whatever its daemons and pods mount, and the fixed paths below /run,
// /var/log/containers, /var/lib/cni and /var/lib/kubelet that they write (two
// kubelets that start at once otherwise fight for device-plugins/kubelet.sock),
// is seen by that node only and is gone when its last process is, as after a power failure. Mounts of
// the machine still propagate inwards, above all their removal.
const bootNode = `mount --make-rshared / &&
mount -t tmpfs -o mode=755 run /run &&
mount -t tmpfs -o mode=755 log /var/log &&
mount -t tmpfs -o mode=755 cni /var/lib/cni &&
mount -t tmpfs -o mode=755 kubelet /var/lib/kubelet &&
: > "$0" && exec sleep infinity`

// nodeArgs is the command line of a node's daemon; nil when there is none of that name.
// All but init need the node to be booted.
func (c *Cluster) nodeArgs(node, name string) []string {
	return map[string][]string{
		nodeInit: {"unshare", "--mount", "--propagation", "slave", "/bin/sh", "-c", bootNode, c.path(node, "booted")},
		Runtime:  {"containerd", "--config", c.path(node, "containerd.toml")},
		Kubelet: {
			c.path("bin", Kubelet), "--config=" + c.path(node, "kubelet.yaml"),
			"--kubeconfig=" + c.path("pki", node+".kubeconfig"), "--root-dir=" + c.path(node, "kubelet"),
			"--hostname-override=" + node, "--node-ip=" + c.NodeIP(node),
		},
		KubeProxy: {c.path("bin", KubeProxy), "--config=" + c.path(node, "kube-proxy.yaml")},
	}[name]
}

// boot starts a node's init and container runtime and returns when images can be
// loaded.
func (c *Cluster) boot(ctx context.Context, node string) error {
	booted, first, containerd := c.path(node, "booted"), node+"."+nodeInit, node+"."+Runtime
	if err := os.Remove(booted); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("boot %s: %w", node, err)
	}
	if err := c.StartDaemon(ctx, first); err != nil {
		return err
	}
	err := c.await(ctx, first, []string{first}, func(context.Context) error {
		_, err := os.Stat(booted)
		return err
	})
	if err != nil {
		return err
	}
	if err := c.StartDaemon(ctx, containerd); err != nil {
		return err
	}
	return c.await(ctx, containerd, []string{containerd}, func(ctx context.Context) error {
		_, err := c.ctr(ctx, node, "version")
		return err
	})
}

// join starts what connects a booted node to the cluster.
func (c *Cluster) join(ctx context.Context, node string) error {
	return errors.Join(c.StartDaemon(ctx, node+"."+KubeProxy), c.StartDaemon(ctx, node+"."+Kubelet))
}

// ctr runs containerd's client inside a node.
func (c *Cluster) ctr(ctx context.Context, node string, args ...string) (string, error) {
	pid := c.pid(node + "." + nodeInit)
	if pid == 0 {
		return "", fmt.Errorf("enter %s: it does not run", node)
	}
	return run(ctx, "", "nsenter", append([]string{mountsOf(pid), "--", "ctr", "--namespace", "k8s.io"}, args...)...)
}

// StopNode cuts a node's power: every process of its kubelet, runtime and pods
// is killed at once and its link goes dark, so that peers get no answer rather
// than a refusal. Not node-1, whose network the control plane shares.
func (c *Cluster) StopNode(ctx context.Context, node string) error {
	if err := c.configureLinks(ctx, node, "link set eth0 down"); err != nil {
		return fmt.Errorf("stop %s: %w", node, err)
	}
	if err := c.killGroup(ctx, node); err != nil {
		return fmt.Errorf("stop %s: %w", node, err)
	}
	// A reboot would clear them, and a kubelet waits 3 s for each group it finds
	// without its container.
	return c.removeGroup(ctx, filepath.Join(node, "kubepods"))
}

// StartNode boots a stopped node again. It returns before the node is Ready.
func (c *Cluster) StartNode(ctx context.Context, node string) error {
	if err := c.configureLinks(ctx, node, connect(node)...); err != nil {
		return fmt.Errorf("start %s: %w", node, err)
	}
	if err := c.boot(ctx, node); err != nil {
		return err
	}
	return c.join(ctx, node)
}
