package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/webhook"
)

// existing is a cluster that others use, too.
type existing struct {
	kubeconfig string
	// image is the webhook's, where the nodes find it; podImage is that of the StatefulSet's pods.
	image, podImage string
}

// undoTimeout bounds the deletion of what the demo made.
const undoTimeout = 2 * time.Minute

// runExisting shows the same on an existing cluster, and undoes all that it did there: it works in a namespace of its own, labels
// two nodes that have no such label, and installs the webhook only if it is not there.
func (d *demo) runExisting(ctx context.Context, e existing) (err error) {
	c, err := cluster.Existing(e.kubeconfig)
	if err != nil {
		return err
	}
	if d.Webhook, err = webhook.In(c); err != nil {
		return err
	}
	d.Image, d.podImage = e.image, e.podImage
	d.step("cluster %s, %s", c.Name(), c.RESTConfig().Host)
	defer func() { err = errors.Join(err, d.undoAll(ctx)) }()
	if err := d.label(ctx); err != nil { // first, so that nothing is installed where there are no two nodes
		return err
	}
	if err := d.installOnce(ctx); err != nil {
		return err
	}
	made, err := d.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "sts-webhook-demo-"}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create namespace: %w", err)
	}
	d.namespace = made.Name
	d.undo = append(d.undo, []string{"delete", "namespace", made.Name})
	return errors.Join(d.place(ctx), d.refuse(ctx))
}

// undoAll takes back what was done, the last first, even after an interrupt.
func (d *demo) undoAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	var failed []error
	for _, args := range slices.Backward(d.undo) {
		if _, err := d.Cluster.Kubectl(ctx, args...); err != nil {
			failed = append(failed, fmt.Errorf("undo, which you can do by kubectl %s: %w", strings.Join(args, " "), err))
			continue
		}
		d.step("undone: kubectl %s", strings.Join(args, " "))
	}
	return errors.Join(failed...)
}

// installOnce leaves a webhook that is there as it is.
func (d *demo) installOnce(ctx context.Context) error {
	out, err := d.Cluster.Kubectl(ctx, "get", "--filename", d.Path("manifests"), "--ignore-not-found", "--output=name")
	if err != nil {
		return err
	}
	found := strings.Fields(out)
	switch {
	case slices.Contains(found, "deployment.apps/"+webhook.Deployment):
		d.step("the webhook is installed already, and stays as it is")
		return nil
	case len(found) > 0:
		return fmt.Errorf("install webhook: parts of it are there, but not its Deployment: %s; delete them, or apply manifests/ with your image", strings.Join(found, ", "))
	case d.Image == "":
		return errors.New("install webhook: it is not in this cluster; say where the nodes find its image, which make image or make image-archive builds: make demo KUBECONFIG=... IMAGE=registry/sts-webhook:tag")
	}
	d.undo = append(d.undo, []string{"delete", "--ignore-not-found", "--filename", d.Path("manifests")})
	installing, cancel := context.WithTimeoutCause(ctx, waitTimeout, fmt.Errorf("not Ready after %v", waitTimeout))
	defer cancel()
	took, err := d.Install(installing)
	if err != nil {
		return err
	}
	d.step("kubectl apply -f manifests/ with the image %s: 2 replicas Ready after %.1f s", d.Image, took.Seconds())
	return nil
}
