package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// step prints what was done and how long after the start.
type step func(format string, args ...any)

func newSteps(out io.Writer) step {
	begin, lines := time.Now(), log.New(out, "", 0)
	return func(format string, args ...any) {
		lines.Printf("%6.1fs  %s", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
}

// startTimeout bounds the start of a cluster once all binaries are there.
const startTimeout = 3 * time.Minute

// Up brings up the cluster and returns when every node is Ready. A healthy
// cluster of that name is returned as it is; the remains of any other are
// removed first. When Up fails or ctx ends, it removes what it made.
func Up(ctx context.Context, o Options) (*Cluster, error) {
	c, err := open(o.Name)
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("bring up cluster: it needs root, for namespaces, mounts and cgroups")
	}
	done := newSteps(o.Log)
	binaries, err := install(ctx, o.Log, done)
	if err != nil {
		return nil, err
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if exists(c.path("bin")) && c.healthy(ctx) {
		done("cluster %s is running", c.name)
		return c, nil
	}
	creating, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready after %v", startTimeout))
	defer cancel()
	if err := c.create(creating, binaries, done); err != nil {
		return nil, c.abandon(context.WithoutCancel(ctx), err)
	}
	return c, nil
}

// Prepare installs the packages that a cluster needs and compiles Kubernetes, once on a machine: minutes that are not part of what
// somebody does with a cluster. Up does the same.
func Prepare(ctx context.Context, log io.Writer) error {
	_, err := install(ctx, log, newSteps(log))
	return err
}

// install returns the directory of Kubernetes' programs.
func install(ctx context.Context, log io.Writer, done step) (string, error) {
	if err := InstallPackages(ctx, log, packages...); err != nil {
		return "", err
	}
	return binaries(ctx, done)
}

// abandon removes a cluster that failed to come up, but for its logs.
func (c *Cluster) abandon(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	kept := filepath.Join(stateRoot, ".failed-"+c.name)
	if errors.Join(os.RemoveAll(kept), os.Rename(c.path("logs"), kept)) == nil {
		cause = fmt.Errorf("%w\nlogs are kept in %s", cause, kept)
	}
	return errors.Join(fmt.Errorf("bring up cluster %s: %w", c.name, cause), c.remove(ctx))
}

// create builds the cluster from nothing.
func (c *Cluster) create(ctx context.Context, binaries string, done step) error {
	if err := c.remove(ctx); err != nil {
		return fmt.Errorf("remove what an earlier run left: %w", err)
	}
	if err := c.prepare(ctx, binaries); err != nil {
		return err
	}
	done("namespaces, cgroups, certificates made")
	archive, err := pauseImage(ctx)
	if err != nil {
		return err
	}
	work, workCtx := errgroup.WithContext(ctx)
	work.Go(func() error {
		for _, name := range controlPlaneDaemons {
			if err := c.StartDaemon(workCtx, name); err != nil {
				return err
			}
		}
		done("control plane ready")
		return nil
	})
	for _, node := range nodeNames {
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
	done("container runtimes ready")
	for _, node := range nodeNames {
		if err := c.join(ctx, node); err != nil {
			return err
		}
	}
	if err := c.waitNodesReady(ctx); err != nil {
		return err
	}
	done("%d nodes Ready", len(nodeNames))
	return nil
}

// healthy reports whether every daemon runs and the apiserver and all nodes are ready.
func (c *Cluster) healthy(ctx context.Context) bool {
	for _, pid := range c.Daemons() {
		if pid == 0 {
			return false
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return c.waitAPIServer(ctx, APIServer) == nil && c.waitNodesReady(ctx) == nil
}

func (c *Cluster) waitNodesReady(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		return fmt.Errorf("create client: %w", err)
	}
	var kubelets []string
	for _, node := range nodeNames {
		kubelets = append(kubelets, node+"."+Kubelet)
	}
	return c.await(ctx, "Ready nodes", kubelets, func(ctx context.Context) error {
		nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		ready := 0
		for _, node := range nodes.Items {
			for _, condition := range node.Status.Conditions {
				if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
					ready++
				}
			}
		}
		if ready != len(nodeNames) {
			return fmt.Errorf("%d of %d are", ready, len(nodeNames))
		}
		return nil
	})
}
