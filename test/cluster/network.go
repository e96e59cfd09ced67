package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	serviceCIDR   = "10.96.0.0/16"
	apiServiceIP  = "10.96.0.1"
	dnsServiceIP  = "10.96.0.10"
	podCIDR       = "10.244.0.0/16"
	apiserverPort = "6443"
)

// nodeIP is the address of node i (from 1).
func nodeIP(i int) string { return fmt.Sprintf("10.89.0.%d", i) }

// podSubnet is the range of pod addresses of node i (from 1): 1022 addresses.
func podSubnet(i int) string { return fmt.Sprintf("10.244.%d.0/22", 4*(i-1)) }

func (c *Cluster) netnsName(node string) string { return "sts-" + c.name + "-" + node }

func (c *Cluster) netns(node string) string {
	return filepath.Join("/run/netns", c.netnsName(node))
}

// makeNetwork creates one network namespace per node. The first holds a bridge
// with the first node's address; every other node hangs on it by a veth pair.
func (c *Cluster) makeNetwork(ctx context.Context) error {
	for i := range c.nodes {
		if _, err := run(ctx, "", "ip", "netns", "add", c.netnsName(nodeName(i+1))); err != nil {
			return err
		}
	}
	for i := range c.nodes {
		commands := c.linkCommands(i + 1)
		if _, err := run(ctx, strings.Join(commands, "\n"), "ip", "-n", c.netnsName(nodeName(i+1)), "-batch", "-"); err != nil {
			return err
		}
		err := inNetns(c.netns(nodeName(i+1)), func() error {
			return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
		})
		if err != nil {
			return fmt.Errorf("allow forwarding: %w", err)
		}
	}
	return nil
}

// linkCommands are the ip(8) commands for node i. Services need a route although
// their addresses are rewritten: the kernel looks one up before it rewrites.
func (c *Cluster) linkCommands(i int) []string {
	commands := []string{"link set lo up"}
	if i == 1 {
		commands = append(commands, "link add br0 type bridge",
			"addr add "+nodeIP(1)+"/24 dev br0", "link set br0 up", "route add "+serviceCIDR+" dev br0")
		for j := 2; j <= c.nodes; j++ {
			commands = append(commands,
				fmt.Sprintf("link add to-%s type veth peer name eth0 netns %s", nodeName(j), c.netnsName(nodeName(j))),
				fmt.Sprintf("link set to-%s master br0 up", nodeName(j)))
		}
	} else {
		commands = append(commands, "addr add "+nodeIP(i)+"/24 dev eth0", "link set eth0 up",
			"route add "+serviceCIDR+" via "+nodeIP(1))
	}
	if i == 1 {
		for j := 2; j <= c.nodes; j++ {
			commands = append(commands, "route add "+podSubnet(j)+" via "+nodeIP(j))
		}
		return commands
	}
	return append(commands, c.podRoutes(i)...)
}

// podRoutes lead to the pods of the other nodes; they vanish when node i's link
// goes down.
func (c *Cluster) podRoutes(i int) []string {
	var commands []string
	for j := 1; j <= c.nodes; j++ {
		if j != i {
			commands = append(commands, "route replace "+podSubnet(j)+" via "+nodeIP(j))
		}
	}
	return commands
}

// setLink takes a node's only link up or down. The first node's is the bridge
// that all share, so it always stays up.
func (c *Cluster) setLink(ctx context.Context, i int, up bool) error {
	if i == 1 {
		return nil
	}
	commands := []string{"link set eth0 down"}
	if up {
		commands = append([]string{"link set eth0 up", "route replace " + serviceCIDR + " via " + nodeIP(1)}, c.podRoutes(i)...)
	}
	_, err := run(ctx, strings.Join(commands, "\n"), "ip", "-n", c.netnsName(nodeName(i)), "-batch", "-")
	return err
}

// deleteNetwork deletes the namespaces of this cluster, and all links with them.
func (c *Cluster) deleteNetwork(ctx context.Context) error {
	names, err := c.netnsNames()
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := run(ctx, "", "ip", "netns", "delete", name); err != nil {
			return err
		}
	}
	return nil
}

// netnsNames lists the namespaces of this cluster that exist, also those a
// crashed run left behind.
func (c *Cluster) netnsNames() ([]string, error) {
	entries, err := os.ReadDir("/run/netns")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	var names []string
	for _, entry := range entries {
		number, ok := strings.CutPrefix(entry.Name(), c.netnsName("node-"))
		if ok && number != "" && strings.Trim(number, "0123456789") == "" {
			names = append(names, entry.Name())
		}
	}
	return names, nil
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
func (c *Cluster) Listen(node, network, address string) (net.Listener, error) {
	var listener net.Listener
	err := inNetns(c.netns(node), func() error {
		var err error
		listener, err = net.Listen(network, address)
		return err
	})
	return listener, err
}
