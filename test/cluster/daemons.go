package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// StartDaemon starts one daemon, by its constant or, on a node, as
// "node-2.kubelet". A daemon that runs is left alone. An apiserver is ready when
// StartDaemon returns.
func (c *Cluster) StartDaemon(ctx context.Context, name string) error {
	part, network, mounts, argv := controlPlane, "node-1", 0, c.controlPlaneArgs(name)
	if node, short, ok := strings.Cut(name, "."); ok && slices.Contains(nodeNames, node) {
		part, network, argv = node, node, c.nodeArgs(node, short)
		if short != nodeInit {
			mounts = c.pid(node + "." + nodeInit)
		}
	}
	if argv == nil {
		return fmt.Errorf("start %s: no such daemon", name)
	}
	if err := c.start(name, part, network, mounts, argv); err != nil {
		return err
	}
	if name == APIServer || name == SecondAPIServer {
		return c.waitAPIServer(ctx, name)
	}
	return nil
}

// configOf is the administrator's way to the apiserver with that name.
func (c *Cluster) configOf(apiserver string) *rest.Config {
	config := c.RESTConfig()
	if apiserver == SecondAPIServer {
		config.Host = controlPlaneURL + secondAPIServerPort
	}
	return config
}

// waitAPIServer polls /readyz of the apiserver with that name, and fails as soon as
// it or etcd ends.
func (c *Cluster) waitAPIServer(ctx context.Context, name string) error {
	client, err := kubernetes.NewForConfig(c.configOf(name))
	if err != nil {
		return fmt.Errorf("create client: %w", err)
	}
	return c.await(ctx, name, []string{Etcd, name}, func(ctx context.Context) error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Timeout(2 * time.Second).Do(ctx).Error()
	})
}

// StopDaemon sends SIGTERM to a daemon and waits for its end.
func (c *Cluster) StopDaemon(ctx context.Context, name string) error {
	return c.end(ctx, name, unix.SIGTERM)
}

// KillDaemon kills a daemon without warning. It also is the way to stop an apiserver: after
// SIGTERM, that would wait a minute for the watches of its clients.
func (c *Cluster) KillDaemon(ctx context.Context, name string) error {
	return c.end(ctx, name, unix.SIGKILL)
}

// Daemons holds the pid of every daemon of a healthy cluster, by the name that StartDaemon
// takes; zero while it does not run.
func (c *Cluster) Daemons() map[string]int {
	pids := map[string]int{}
	for _, name := range controlPlaneDaemons {
		pids[name] = c.pid(name)
	}
	for _, node := range nodeNames {
		for _, name := range []string{nodeInit, Runtime, Kubelet, KubeProxy} {
			pids[node+"."+name] = c.pid(node + "." + name)
		}
	}
	return pids
}
