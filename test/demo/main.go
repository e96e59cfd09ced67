// Command demo shows the webhook at work on a real three-node cluster on this machine: it brings the cluster up, installs the webhook
// by one kubectl apply, runs a StatefulSet of six pods, prints where they are, and tries to apply the same with a mistake. It needs
// root.
//
// Its exit code is 0 only if every pod is on the node that its ordinal asks for and the mistake was refused without touching them.
// The cluster stays for playing; run again, the demo uses it again, with the webhook of the checkout as it is then.
//
// The variable CLUSTER_NAME chooses the cluster. With --kubeconfig the demo runs on an existing cluster instead, without root, and
// takes back all that it did there.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/webhook"
)

// timeout bounds everything after the cluster is up, which takes half a minute on
// two cores.
const timeout = 5 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var e existing
	pflag.StringVar(&e.kubeconfig, "kubeconfig", "", "run on the existing cluster of this `file`; empty brings one up on this machine")
	pflag.StringVar(&e.image, "image", "", "the webhook's image where the nodes of the existing cluster find it")
	pflag.StringVar(&e.podImage, "pod-image", "registry.k8s.io/pause:3.10", "what the StatefulSet's pods run on the existing cluster")
	pflag.Parse()
	err := run(ctx, os.Stdout, e)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is one run.
type demo struct {
	*webhook.Webhook
	out   io.Writer
	begin time.Time
	// namespace is where the StatefulSet is.
	namespace string
	// nodeOf says which node carries which value of the label "name".
	nodeOf map[string]string
	// podImage is what the pods run; empty is what web.yaml says.
	podImage string
	// undo are the arguments of kubectl that take back what was done on an existing cluster.
	undo [][]string
}

func run(ctx context.Context, out io.Writer, e existing) error {
	d := &demo{out: out, begin: time.Now(), namespace: "default"}
	fmt.Fprintln(out, "StatefulSet pods land on the node that their ordinal asks for, on a real Kubernetes.")
	fmt.Fprintln(out)
	if e.kubeconfig != "" {
		return d.runExisting(ctx, e)
	}
	if err := d.setUp(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done after %v", timeout))
	defer cancel()
	if err := d.install(ctx); err != nil {
		return err
	}
	if err := d.label(ctx); err != nil {
		return err
	}
	// A wrong placement must not hide what the second half shows.
	err := errors.Join(d.place(ctx), d.refuse(ctx))
	fmt.Fprint(out, nextSteps(d.Cluster.Name()))
	return err
}

// step prints what was done and how long after the start.
func (d *demo) step(format string, args ...any) {
	fmt.Fprintf(d.out, "%6.1fs  %s\n", time.Since(d.begin).Seconds(), fmt.Sprintf(format, args...))
}

// setUp brings up the cluster, with the image of this checkout on every node.
func (d *demo) setUp(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "sts-webhook-demo")
	if err != nil {
		return fmt.Errorf("create directory: %w", err)
	}
	defer os.RemoveAll(dir)
	archive := filepath.Join(dir, "sts-webhook.tar")
	var c *cluster.Cluster
	work, workCtx := errgroup.WithContext(ctx)
	work.Go(func() (err error) {
		c, err = cluster.Up(workCtx, cluster.Options{Log: d.out})
		return err
	})
	work.Go(func() error { return cluster.BuildWebhookImage(workCtx, archive) })
	if err := work.Wait(); err != nil {
		return err
	}
	if err := c.LoadImage(ctx, archive); err != nil {
		return err
	}
	d.step("image %s on every node", cluster.WebhookImageName)
	d.Webhook, err = webhook.In(c)
	return err
}

// install applies the manifests. Pods of an earlier run are replaced, since the
// image may be a new one.
func (d *demo) install(ctx context.Context) error {
	replicas, err := d.Replicas(ctx)
	if err != nil {
		return err
	}
	took, err := d.Install(ctx)
	if err != nil {
		return err
	}
	d.step("kubectl apply -f manifests/: 2 replicas Ready after %.1f s", took.Seconds())
	if len(replicas) == 0 {
		return nil
	}
	if err := d.Restart(ctx); err != nil {
		return err
	}
	d.step("kubectl rollout restart: the webhook was there already, now it is of this image")
	return nil
}

// nextSteps says how to go on.
func nextSteps(name string) string {
	variable := ""
	if name != cluster.DefaultName {
		variable = " CLUSTER_NAME=" + name
	}
	return fmt.Sprintf(`
The cluster stays for playing:  make%[1]s kubectl ARGS="get pods --output=wide"
Remove it with:                 make%[1]s cluster-down
`, variable)
}
