package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Addresses are the same in every cluster: they live inside network namespaces
// that have no route to the machine or to each other.
const (
	controlPlaneIP  = "10.89.0.1"
	controlPlaneURL = "https://" + controlPlaneIP + ":"
	serviceCIDR     = "10.96.0.0/16"
	apiServiceIP    = "10.96.0.1"
)

var (
	nodeNames = []string{"node-1", "node-2", "node-3"}
	nodeIPs   = map[string]string{"node-1": controlPlaneIP, "node-2": "10.89.0.2", "node-3": "10.89.0.3"}
	// podSubnets are the ranges of the nodes' pods: 1022 addresses each, all in 10.244.0.0/16.
	podSubnets = map[string]string{"node-1": "10.244.0.0/22", "node-2": "10.244.4.0/22", "node-3": "10.244.8.0/22"}
)

func (c *Cluster) netnsName(node string) string { return "sts-" + c.name + "-" + node }

func (c *Cluster) netns(node string) string { return filepath.Join("/run/netns", c.netnsName(node)) }

// makeNetwork creates one network namespace per node. The first holds a bridge
// with the first node's address; every other node hangs on it by a veth pair.
// Services need a route although their addresses are rewritten: the kernel looks
// one up before it rewrites.
func (c *Cluster) makeNetwork(ctx context.Context) error {
	for _, node := range nodeNames {
		if _, err := run(ctx, "", "ip", "netns", "add", c.netnsName(node)); err != nil {
			return err
		}
		err := inNetns(c.netns(node), func() error {
			return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
		})
		if err != nil {
			return fmt.Errorf("allow forwarding: %w", err)
		}
	}
	commands := []string{"link set lo up", "link add br0 type bridge",
		"addr add " + controlPlaneIP + "/24 dev br0", "link set br0 up", "route add " + serviceCIDR + " dev br0"}
	for _, node := range nodeNames[1:] {
		commands = append(commands,
			fmt.Sprintf("link add to-%s type veth peer name eth0 netns %s", node, c.netnsName(node)),
			fmt.Sprintf("link set to-%s master br0 up", node),
			"route add "+podSubnets[node]+" via "+nodeIPs[node])
	}
	if err := c.configureLinks(ctx, "node-1", commands...); err != nil {
		return err
	}
	for _, node := range nodeNames[1:] {
		commands := append([]string{"link set lo up", "addr add " + nodeIPs[node] + "/24 dev eth0"}, connect(node)...)
		if err := c.configureLinks(ctx, node, commands...); err != nil {
			return err
		}
	}
	return nil
}

// connect are the ip(8) commands that take a node's only link up, with the routes that
// vanish when it goes down: to Services and to the pods of the other nodes. The first
// node's is the bridge that all share, so it always stays up.
func connect(node string) []string {
	commands := []string{"link set eth0 up", "route replace " + serviceCIDR + " via " + controlPlaneIP}
	for _, other := range nodeNames {
		if other != node {
			commands = append(commands, "route replace "+podSubnets[other]+" via "+nodeIPs[other])
		}
	}
	return commands
}

// configureLinks runs ip(8) commands in the network of a node.
func (c *Cluster) configureLinks(ctx context.Context, node string, commands ...string) error {
	_, err := run(ctx, strings.Join(commands, "\n"), "ip", "-n", c.netnsName(node), "-batch", "-")
	return err
}

// deleteNetwork deletes the namespaces of this cluster, and all links with them.
func (c *Cluster) deleteNetwork(ctx context.Context) error {
	for _, node := range nodeNames {
		if !exists(c.netns(node)) {
			continue
		}
		if _, err := run(ctx, "", "ip", "netns", "delete", c.netnsName(node)); err != nil {
			return err
		}
	}
	return nil
}

// inNetns calls f on a thread inside a network namespace. f must not leave that
// thread: no goroutines, no host names.
func inNetns(path string, f func() error) error {
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, so that no other
		// one can inherit its namespace.
		runtime.LockOSThread()
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			result <- fmt.Errorf("open network namespace %s: %w", path, err)
			return
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("enter network namespace %s: %w", path, err)
			return
		}
		result <- f()
	}()
	return <-result
}

// Dialer returns a dial function whose connections start in the network namespace
// of a node, from where node, pod and Service addresses are reachable. It fits
// http.Transport.DialContext and rest.Config.Dial. Addresses are numeric.
func (c *Cluster) Dialer(node string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("dial: %w", err)
		}
		if net.ParseIP(host) == nil {
			return nil, fmt.Errorf("dial %s: not a numeric address", address)
		}
		var conn net.Conn
		err = inNetns(c.netns(node), func() error {
			var d net.Dialer
			conn, err = d.DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
}

// Listen opens a listener inside the network namespace of a node, for example a
// fake of an outside service that pods reach at NodeIP(node).
func (c *Cluster) Listen(node, network, address string) (listener net.Listener, err error) {
	err = inNetns(c.netns(node), func() error {
		listener, err = net.Listen(network, address)
		return err
	})
	return listener, err
}
