package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Up brings up the cluster and returns when every node is Ready. A healthy
// cluster of that name and size is returned as it is; the remains of any other
// are removed first. When Up fails or ctx ends, it removes what it made.
func Up(ctx context.Context, o Options) (*Cluster, error) {
	c, err := open(o.Name)
	if err != nil {
		return nil, err
	}
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Timeout == 0 {
		o.Timeout = 3 * time.Minute
	}
	if o.Nodes < 1 || o.Nodes > 9 {
		return nil, fmt.Errorf("check number of nodes %d: it must be 1 to 9", o.Nodes)
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("bring up cluster: it needs root, for namespaces, mounts and cgroups")
	}
	steps := newSteps(o.Log)
	if err := installPackages(ctx, steps, packages); err != nil {
		return nil, err
	}
	if c.binaries, err = binaries(ctx, steps); err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, c.name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if running, err := Attach(c.name); err == nil && running.nodes == o.Nodes && running.healthy(ctx) {
		steps.done("cluster %s is running", c.name)
		return running, nil
	}
	c.nodes = o.Nodes
	creating, cancel := context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("not ready after %v", o.Timeout))
	defer cancel()
	if err := c.create(creating, steps); err != nil {
		return nil, c.abandon(context.WithoutCancel(ctx), err)
	}
	return c, nil
}

// abandon removes a cluster that failed to come up, but for its logs.
func (c *Cluster) abandon(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	kept := filepath.Join(stateRoot, ".failed-"+c.name)
	err := os.RemoveAll(kept)
	if err == nil {
		err = os.Rename(c.path("logs"), kept)
	}
	if err == nil {
		cause = fmt.Errorf("%w\nlogs are kept in %s", cause, kept)
	}
	return errors.Join(fmt.Errorf("bring up cluster %s: %w", c.name, cause), c.remove(ctx))
}

// create builds the cluster from nothing.
func (c *Cluster) create(ctx context.Context, s *steps) error {
	if err := c.remove(ctx); err != nil {
		return fmt.Errorf("remove what an earlier run left: %w", err)
	}
	if err := c.prepare(ctx); err != nil {
		return err
	}
	s.done("namespaces, cgroups, certificates made")
	archive, err := pauseImage(ctx)
	if err != nil {
		return err
	}
	work, workCtx := errgroup.WithContext(ctx)
	work.Go(func() error {
		if err := c.startControlPlane(workCtx); err != nil {
			return err
		}
		s.done("control plane ready")
		return nil
	})
	for _, node := range c.Nodes() {
		work.Go(func() error {
			if err := c.boot(workCtx, node); err != nil {
				return err
			}
			return c.loadInto(workCtx, node, archive)
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	s.done("container runtimes ready")
	for _, node := range c.Nodes() {
		if err := c.join(ctx, node); err != nil {
			return err
		}
	}
	if err := c.WaitNodesReady(ctx); err != nil {
		return err
	}
	s.done("%d nodes Ready", c.nodes)
	return nil
}

// healthy reports whether every daemon runs and the apiserver and all nodes are ready.
func (c *Cluster) healthy(ctx context.Context) bool {
	for _, d := range c.Daemons() {
		if d.PID == 0 {
			return false
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return c.waitAPIServer(ctx, APIServer, c.RESTConfig()) == nil && c.WaitNodesReady(ctx) == nil
}

// WaitNodesReady returns when every node says Ready.
func (c *Cluster) WaitNodesReady(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		return fmt.Errorf("create client: %w", err)
	}
	err = poll(ctx, 100*time.Millisecond, func() (bool, error) {
		for _, node := range c.Nodes() {
			if !c.alive(node + "." + Kubelet) {
				return false, fmt.Errorf("the kubelet of %s ended:\n%s", node, c.logTail(node+"."+Kubelet))
			}
		}
		list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return err == nil && readyNodes(list.Items) == c.nodes, nil
	})
	if err != nil {
		return fmt.Errorf("wait for Ready nodes: %w", err)
	}
	return nil
}

func readyNodes(nodes []corev1.Node) int {
	ready := 0
	for _, node := range nodes {
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				ready++
			}
		}
	}
	return ready
}
