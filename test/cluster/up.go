package cluster

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"text/template"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

//go:embed config
var configFiles embed.FS

var configs = template.Must(template.ParseFS(configFiles, "config/*"))

// maxPods bounds the pods of a node; its subnet has 1022 addresses.
const maxPods = 500

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
	if o.Nodes < 1 || o.Nodes > 9 {
		return nil, fmt.Errorf("check number of nodes %d: it must be 1 to 9", o.Nodes)
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("bring up cluster: it needs root, for namespaces, mounts and cgroups")
	}
	steps := newSteps(o.Log)
	if err := installPackages(ctx, steps); err != nil {
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
	if err := c.create(ctx, steps); err != nil {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("bring up cluster %s: %w", c.name, err), c.remove(cleanup))
	}
	return c, nil
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

// prepare makes everything that is not a process.
func (c *Cluster) prepare(ctx context.Context) error {
	dirs := []string{"logs", "pids", "pki", "config"}
	for _, dir := range append(dirs, c.Nodes()...) {
		if err := os.MkdirAll(c.path(dir), 0o755); err != nil {
			return fmt.Errorf("create directory: %w", err)
		}
	}
	// A mount point for the nodes' tmpfs; empty on the machine itself.
	if err := os.MkdirAll("/var/lib/cni", 0o755); err != nil {
		return fmt.Errorf("create directory: %w", err)
	}
	content, err := json.Marshal(description{Nodes: c.nodes, Binaries: c.binaries})
	if err != nil {
		return fmt.Errorf("describe cluster: %w", err)
	}
	if err := writeFile(c.path("cluster.json"), content, 0o644); err != nil {
		return err
	}
	for _, group := range append(c.Nodes(), controlPlane) {
		if err := makeGroup(c.cgroups, c.group(group)); err != nil {
			return err
		}
		if err := os.Mkdir(c.daemonsGroup(group), 0o755); err != nil {
			return fmt.Errorf("create cgroup: %w", err)
		}
	}
	if err := c.makeNetwork(ctx); err != nil {
		return err
	}
	if err := c.makePKI(); err != nil {
		return err
	}
	return c.writeConfigs()
}

// writeConfigs renders the files below config/ for every daemon.
func (c *Cluster) writeConfigs() error {
	users := []string{"admin", "kube-controller-manager", "kube-scheduler", "kube-proxy"}
	for _, user := range append(users, c.Nodes()...) {
		values := map[string]any{"Cluster": c.name, "Server": c.server(), "PKI": c.path("pki"), "User": user}
		if err := render("kubeconfig", c.path("pki", user+".kubeconfig"), values); err != nil {
			return err
		}
	}
	if err := render("kube-scheduler.yaml", c.path("config", "kube-scheduler.yaml"), map[string]any{"PKI": c.path("pki")}); err != nil {
		return err
	}
	for i, node := range c.Nodes() {
		values := map[string]any{
			"Name": node, "Dir": c.path(node), "PKI": c.path("pki"), "CgroupRoot": "/" + c.group(node),
			"DNS": dnsServiceIP, "MaxPods": maxPods, "PodCIDR": podCIDR, "PodSubnet": podSubnet(i + 1),
			"PauseImage": PauseImage, "CNIPlugins": cniPlugins(),
		}
		for _, name := range []string{"containerd.toml", "kubelet.yaml", "kube-proxy.yaml"} {
			if err := render(name, c.path(node, name), values); err != nil {
				return err
			}
		}
		if err := os.MkdirAll(c.path(node, "cni"), 0o755); err != nil {
			return fmt.Errorf("create directory: %w", err)
		}
		if err := render("cni.conflist", c.path(node, "cni", "pods.conflist"), values); err != nil {
			return err
		}
	}
	return nil
}

func render(name, file string, values map[string]any) error {
	var out bytes.Buffer
	if err := configs.ExecuteTemplate(&out, name, values); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	return writeFile(file, out.Bytes(), 0o644)
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

// healthy tells whether every daemon runs and the apiserver and all nodes are ready.
func (c *Cluster) healthy(ctx context.Context) bool {
	for _, d := range c.Daemons() {
		if d.PID == 0 {
			return false
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return c.waitAPIServer(ctx) == nil && c.WaitNodesReady(ctx) == nil
}

// lock serialises Up and Down of one cluster over all processes. The kernel drops
// it when its holder dies.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	dir := filepath.Join(stateRoot, ".locks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create directory: %w", err)
	}
	return lockFile(ctx, filepath.Join(dir, name))
}

func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	err = poll(ctx, 50*time.Millisecond, func() (bool, error) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// steps prints what was done and how long after the start.
type steps struct {
	begin time.Time
	// mu guards out.
	mu  sync.Mutex
	out io.Writer
}

func newSteps(out io.Writer) *steps {
	if out == nil {
		out = io.Discard
	}
	return &steps{out: out, begin: time.Now()}
}

func (s *steps) done(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%6.1fs  %s\n", time.Since(s.begin).Seconds(), fmt.Sprintf(format, args...))
}
