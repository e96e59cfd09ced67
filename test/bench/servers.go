package main

import (
	"context"
	"crypto/tls"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/process"
	"sts-mutating-webhook/test/webhook"
)

const (
	floorImage    = "sts-webhook-bench/floor:1"
	textbookImage = "sts-webhook-test/textbook:1"
	// node is where the replicas run that are measured.
	node = "node-1"
)

//go:embed bench.yaml
var manifest string

// server is one of the programs that are compared, running in a pod.
type server struct {
	name                                   string
	namespace, app, program, port, archive string
	pod                                    corev1.Pod
	pid                                    int
}

func (s *server) address() string { return s.pod.Status.PodIP + ":" + s.port }

// bench is the cluster with everything that is measured.
type bench struct {
	cluster *cluster.Cluster
	webhook *webhook.Webhook
	// dir holds the images.
	dir                   string
	floor, ours, textbook *server
}

func (b *bench) servers() []*server { return []*server{b.floor, b.ours, b.textbook} }

func newBench(c *cluster.Cluster, dir string) (*bench, error) {
	wh, err := webhook.In(c)
	if err != nil {
		return nil, err
	}
	image := func(name string) string { return filepath.Join(dir, name+".tar") }
	return &bench{
		cluster: c, webhook: wh, dir: dir,
		floor:    &server{name: "floor", namespace: "bench", app: "floor", program: "/program", port: "8443", archive: image("floor")},
		ours:     &server{name: "ours", namespace: webhook.Namespace, app: webhook.Deployment, program: "/sts-webhook", port: "8443", archive: image("ours")},
		textbook: &server{name: "textbook", namespace: "textbook-system", app: "textbook-webhook", program: "/program", port: "9443", archive: image("textbook")},
	}, nil
}

// install builds the images, runs all servers as users do, with one replica of
// each on the measured node, and finds their processes.
func (b *bench) install(ctx context.Context) error {
	var images errgroup.Group
	images.Go(func() error { return cluster.BuildWebhookImage(ctx, b.ours.archive) })
	images.Go(func() error {
		return cluster.BuildProgramImage(ctx, textbookImage, "test/textbook", b.textbook.archive)
	})
	images.Go(func() error { return cluster.BuildProgramImage(ctx, floorImage, "test/bench/floor", b.floor.archive) })
	if err := images.Wait(); err != nil {
		return err
	}
	for _, s := range b.servers() {
		if err := b.cluster.LoadImage(ctx, s.archive); err != nil {
			return err
		}
	}
	file := filepath.Join(b.dir, "bench.yaml")
	if err := writeFile(file, manifest); err != nil {
		return err
	}
	for _, name := range []string{file, b.webhook.Path("test/textbook/manifests/textbook.yaml")} {
		if _, err := b.cluster.Kubectl(ctx, "apply", "-f", name); err != nil {
			return err
		}
	}
	if _, err := b.webhook.Install(ctx); err != nil {
		return err
	}
	if err := b.startGate(ctx); err != nil {
		return err
	}
	if err := b.webhook.Scale(ctx, len(b.cluster.Nodes())); err != nil {
		return err
	}
	// The same binary as the cluster may have run before is not what was built now.
	if err := b.webhook.Restart(ctx); err != nil {
		return err
	}
	if err := b.find(ctx); err != nil {
		return err
	}
	return b.trustFloor(ctx)
}

// startGate applies what the apiserver does for the gate, in gateNamespace alone. The placer, which no creation waits for, stays off.
func (b *bench) startGate(ctx context.Context) error {
	const scope = `{"spec":{"matchResources":{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"` + gateNamespace + `"}}}}}`
	for _, args := range [][]string{
		{"apply", "-f", b.webhook.Path("manifests/optional/gate/10-policy.yaml"), "-f", b.webhook.Path("manifests/optional/gate/20-guard.yaml")},
		{"patch", "mutatingadmissionpolicybinding/sts-webhook-gate", "--type=merge", "-p", scope},
		{"patch", "validatingadmissionpolicybinding/sts-webhook-gate-guard", "--type=merge", "-p", scope},
	} {
		if _, err := b.cluster.Kubectl(ctx, args...); err != nil {
			return fmt.Errorf("start gate: %w", err)
		}
	}
	return nil
}

// trustFloor writes the certificate that the floor has made for itself into its webhook configuration.
func (b *bench) trustFloor(ctx context.Context) error {
	raw, err := b.cluster.Dialer(node)(ctx, "tcp", b.floor.address())
	if err != nil {
		return fmt.Errorf("read the floor's certificate: %w", err)
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("read the floor's certificate: %w", err)
	}
	configurations := b.webhook.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	c, err := configurations.Get(ctx, b.floor.namespace, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("trust the floor: %w", err)
	}
	c.Webhooks[0].ClientConfig.CABundle = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: conn.ConnectionState().PeerCertificates[0].Raw})
	if _, err := configurations.Update(ctx, c, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("trust the floor: %w", err)
	}
	return nil
}

// find waits until every server has a Ready replica on the measured node.
func (b *bench) find(ctx context.Context) error {
	for _, s := range b.servers() {
		last := errors.New("not looked for")
		err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 3*time.Minute, true, func(ctx context.Context) (bool, error) {
			last = b.findOne(ctx, s)
			return last == nil, nil
		})
		if err != nil {
			return fmt.Errorf("wait for %s: %w: %w", s.name, err, last)
		}
	}
	return nil
}

func (b *bench) findOne(ctx context.Context, s *server) error {
	list, err := b.webhook.Client.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{
		LabelSelector: "app=" + s.app, FieldSelector: "spec.nodeName=" + node,
	})
	if err != nil {
		return err
	}
	for _, pod := range list.Items {
		if pod.DeletionTimestamp != nil || !ready(pod) {
			continue
		}
		s.pod = pod
		s.pid, err = process.PID(pod, s.program)
		return err
	}
	return fmt.Errorf("%d replicas on %s, none of them Ready", len(list.Items), node)
}

func ready(pod corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
