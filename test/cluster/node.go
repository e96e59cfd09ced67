package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
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

// nodeName is the name of node i (from 1).
func nodeName(i int) string { return fmt.Sprintf("node-%d", i) }

// nodeIndex is the inverse of nodeName.
func (c *Cluster) nodeIndex(name string) (int, error) {
	for i := 1; i <= c.nodes; i++ {
		if nodeName(i) == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("find node %q: the cluster has node-1 to node-%d", name, c.nodes)
}

// nodeDaemon describes a daemon of a node. All but init need the node to be booted.
func (c *Cluster) nodeDaemon(node, name string) (daemon, bool) {
	dir := c.path(node)
	argv := map[string][]string{
		nodeInit: {"unshare", "--mount", "--propagation", "slave", "/bin/sh", "-c", bootNode, filepath.Join(dir, "booted")},
		Runtime:  {"containerd", "--config", filepath.Join(dir, "containerd.toml")},
		Kubelet: {
			filepath.Join(c.binaries, Kubelet), "--config=" + filepath.Join(dir, "kubelet.yaml"),
			"--kubeconfig=" + c.path("pki", node+".kubeconfig"), "--root-dir=" + filepath.Join(dir, "kubelet"),
			"--hostname-override=" + node, "--node-ip=" + c.NodeIP(node),
		},
		KubeProxy: {filepath.Join(c.binaries, KubeProxy), "--config=" + filepath.Join(dir, "kube-proxy.yaml")},
	}[name]
	if argv == nil {
		return daemon{}, false
	}
	d := daemon{name: node + "." + name, group: node, netns: c.netns(node), argv: argv}
	if name != nodeInit {
		d.init, _ = c.pid(node + "." + nodeInit)
	}
	return d, true
}

// boot starts a node's init and container runtime and returns when images can be
// loaded.
func (c *Cluster) boot(ctx context.Context, node string) error {
	booted := c.path(node, "booted")
	if err := os.Remove(booted); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("boot %s: %w", node, err)
	}
	if err := c.StartDaemon(ctx, node+"."+nodeInit); err != nil {
		return err
	}
	err := poll(ctx, 5*time.Millisecond, func() (bool, error) {
		if _, err := os.Stat(booted); err == nil {
			return true, nil
		}
		if !c.alive(node + "." + nodeInit) {
			return false, fmt.Errorf("its first process ended:\n%s", c.logTail(node+"."+nodeInit))
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("boot %s: %w", node, err)
	}
	if err := c.StartDaemon(ctx, node+"."+Runtime); err != nil {
		return err
	}
	err = poll(ctx, 20*time.Millisecond, func() (bool, error) {
		if !c.alive(node + "." + Runtime) {
			return false, fmt.Errorf("containerd ended:\n%s", c.logTail(node+"."+Runtime))
		}
		_, err := c.ctr(ctx, node, "version")
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for containerd of %s: %w", node, err)
	}
	return nil
}

// join starts what connects a booted node to the cluster.
func (c *Cluster) join(ctx context.Context, node string) error {
	for _, name := range []string{KubeProxy, Kubelet} {
		if err := c.StartDaemon(ctx, node+"."+name); err != nil {
			return err
		}
	}
	return nil
}

// ctr runs containerd's client inside a node.
func (c *Cluster) ctr(ctx context.Context, node string, args ...string) (string, error) {
	pid, ok := c.pid(node + "." + nodeInit)
	if !ok {
		return "", fmt.Errorf("enter %s: it does not run", node)
	}
	return run(ctx, "", "nsenter", append([]string{
		fmt.Sprintf("--mount=/proc/%d/ns/mnt", pid), "--", "ctr", "--namespace", "k8s.io"}, args...)...)
}

// StopNode cuts a node's power: every process of its kubelet, runtime and pods
// is killed at once and its link goes dark, so that peers get no answer rather
// than a refusal. The control plane shares node-1's network and goes on running.
func (c *Cluster) StopNode(ctx context.Context, node string) error {
	i, err := c.nodeIndex(node)
	if err != nil {
		return err
	}
	if err := c.setLink(ctx, i, false); err != nil {
		return fmt.Errorf("stop %s: %w", node, err)
	}
	if err := killGroup(ctx, c.cgroups, c.group(node)); err != nil {
		return fmt.Errorf("stop %s: %w", node, err)
	}
	// A reboot would clear them, and a kubelet waits 3 s for each group it finds
	// without its container.
	return removeGroup(ctx, c.cgroups, filepath.Join(c.group(node), "kubepods"))
}

// StartNode boots a stopped node again. It returns before the node is Ready.
func (c *Cluster) StartNode(ctx context.Context, node string) error {
	i, err := c.nodeIndex(node)
	if err != nil {
		return err
	}
	if err := c.setLink(ctx, i, true); err != nil {
		return fmt.Errorf("start %s: %w", node, err)
	}
	if err := c.boot(ctx, node); err != nil {
		return err
	}
	return c.join(ctx, node)
}

// StartDaemon starts one daemon, by its constant or, on a node, as
// "node-2.kubelet". A daemon that runs is left alone.
func (c *Cluster) StartDaemon(_ context.Context, name string) error {
	d, ok := c.controlPlaneDaemon(name)
	if !ok {
		node, short, _ := strings.Cut(name, ".")
		if _, err := c.nodeIndex(node); err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
		if d, ok = c.nodeDaemon(node, short); !ok {
			return fmt.Errorf("start %s: no such daemon", name)
		}
	}
	return c.start(d)
}

// StopDaemon asks a daemon to end and waits for it.
func (c *Cluster) StopDaemon(ctx context.Context, name string) error {
	return c.signalAndWait(ctx, name, unix.SIGTERM)
}

// KillDaemon kills a daemon without warning.
func (c *Cluster) KillDaemon(ctx context.Context, name string) error {
	return c.signalAndWait(ctx, name, unix.SIGKILL)
}

// Daemon is the state of one daemon.
type Daemon struct {
	// Name is what StartDaemon takes.
	Name string
	// PID is zero while it does not run.
	PID int
}

// Daemons lists every daemon of the cluster, the control plane's first.
func (c *Cluster) Daemons() []Daemon {
	names := []string{Etcd, APIServer, ControllerManager, Scheduler}
	for _, node := range c.Nodes() {
		names = append(names, node+"."+nodeInit, node+"."+Runtime, node+"."+Kubelet, node+"."+KubeProxy)
	}
	var all []Daemon
	for _, name := range names {
		d := Daemon{Name: name}
		if pid, ok := c.pid(name); ok {
			d.PID = pid
		}
		all = append(all, d)
	}
	return all
}
