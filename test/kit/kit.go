// Package kit is what the test suites on a real cluster share: a cluster with the image of
// this checkout on its nodes, chapters, waits, and objects to create.
//
// The suites need root and TEST_CLUSTER=1. With -short they run what fits into a check of
// every change; without it they also run the long chapters. -run selects chapters, and
// -write names the document that a suite writes its figures into.
package kit

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/webhook"
)

// Suite is a cluster, and the webhook in it.
type Suite struct {
	*webhook.Webhook
	// Ctx ends with the suite's time and when it is interrupted. What is cleaned up
	// after that needs a context of its own.
	Ctx     context.Context
	remarks []string
}

// Options say which cluster a suite needs. Name and Timeout are required.
type Options struct {
	// Name is what the cluster's name ends with: a suite does not use the cluster
	// that make demo leaves.
	Name string
	// Timeout bounds the whole suite, but for the compilation of Kubernetes.
	Timeout time.Duration
	// Fresh replaces a cluster of that name. Otherwise one that is already up is used,
	// and left.
	Fresh bool
	// Programs are built into images and loaded beside the webhook: directories of
	// main packages, from the checkout's root, by the images' names.
	Programs map[string]string
	// Variants are images of the webhook in which a variable has another value: as the
	// linker's -X takes it, by the images' names.
	Variants map[string]string
	// Meanwhile runs while the cluster comes up; nil is nothing.
	Meanwhile func(context.Context) error
}

// Start brings the cluster up, with all images on its nodes. A cluster that was not there
// before is removed at the end of the test. It skips the test without TEST_CLUSTER.
func Start(t *testing.T, o Options) *Suite {
	t.Helper()
	if os.Getenv("TEST_CLUSTER") == "" {
		t.Skip("NOT RUN: the test brings up a real cluster; set TEST_CLUSTER=1 (make test-cluster) and be root")
	}
	if os.Geteuid() != 0 {
		t.Fatal("TEST_CLUSTER is set, but bringing up a real cluster needs root")
	}
	Must(t, cluster.Prepare(t.Context(), Log(t)))
	ctx := suiteContext(t, o.Timeout)
	begin := time.Now()
	c := bringUp(ctx, t, o)
	w, err := webhook.In(c)
	Must(t, err)
	t.Logf("cluster %s up with the images on every node in %.1f s", c.Name(), time.Since(begin).Seconds())
	return &Suite{Webhook: w, Ctx: ctx}
}

// bringUp returns the cluster, brought up while the images are built.
func bringUp(ctx context.Context, t *testing.T, o Options) *cluster.Cluster {
	t.Helper()
	name, err := cluster.ResolveName("")
	Must(t, err)
	name += "-" + o.Name
	if o.Fresh {
		Must(t, cluster.Down(ctx, name))
	}
	if _, err := cluster.Attach(name); err != nil {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := cluster.Down(ctx, name); err != nil {
				t.Error(err)
			}
		})
	}
	dir := t.TempDir()
	archive := func(i int) string { return filepath.Join(dir, fmt.Sprintf("%d.tar", i)) }
	var c *cluster.Cluster
	work, workCtx := errgroup.WithContext(ctx)
	work.Go(func() (err error) {
		c, err = cluster.Up(workCtx, cluster.Options{Name: name, Log: Log(t)})
		return err
	})
	images := []func(archive string) error{func(archive string) error { return cluster.BuildWebhookImage(workCtx, archive) }}
	for image, program := range o.Programs {
		images = append(images, func(archive string) error { return cluster.BuildProgramImage(workCtx, image, program, archive) })
	}
	for image, variable := range o.Variants {
		images = append(images, func(archive string) error { return cluster.BuildWebhookVariant(workCtx, image, archive, variable) })
	}
	for i, build := range images {
		work.Go(func() error { return build(archive(i)) })
	}
	if o.Meanwhile != nil {
		work.Go(func() error { return o.Meanwhile(workCtx) })
	}
	Must(t, work.Wait())
	for i := range images {
		Must(t, c.LoadImage(ctx, archive(i)))
	}
	return c
}

// Log passes whole lines to the test's log.
func Log(t *testing.T) io.Writer { return t.Output() }

// LabelNodes gives two nodes the labels that the documentation's annotation names, and returns the nodes by the label's value. On an
// existing cluster it lasts until the end of the test.
func (s *Suite) LabelNodes(t *testing.T) map[string]string {
	t.Helper()
	nodeOf, undo, err := s.Webhook.LabelNodes(s.Ctx)
	for _, args := range undo {
		t.Cleanup(func() { s.undo(t, args...) })
	}
	Must(t, err)
	return nodeOf
}

// Kubectl runs kubectl and returns its output.
func (s *Suite) Kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.Cluster.Kubectl(s.Ctx, args...)
	Must(t, err)
	return out
}
