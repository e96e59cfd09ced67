package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// DefaultName is the cluster used when neither Options.Name nor CLUSTER_NAME says.
const DefaultName = "sts-webhook"

// stateRoot holds one directory per cluster. It is outside any checkout, so that
// a cluster can be found and removed from another one.
const stateRoot = "/var/lib/sts-webhook-test"

// Options say which cluster to bring up.
type Options struct {
	// Name tells clusters apart; empty means $CLUSTER_NAME or DefaultName. At most
	// 30 lower-case letters, digits and dashes.
	Name string
	// Nodes is the number of nodes, 1 to 9; zero means 3.
	Nodes int
	// Timeout bounds the start once all binaries are there; zero means 3 minutes.
	Timeout time.Duration
	// Log gets one line per step with its time; nil discards them.
	Log io.Writer
}

// Cluster is a running cluster, or one that a failed run left behind.
type Cluster struct {
	name string
	// dir holds its files, below stateRoot.
	dir      string
	nodes    int
	binaries string
	cgroups  []hierarchy
	// existing is nil for a cluster that was brought up here.
	existing *existing
}

// description is what Attach needs to know; it is stored in cluster.json.
type description struct {
	Nodes    int    `json:"nodes"`
	Binaries string `json:"binaries"`
}

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$`)

// ResolveName applies the default for an empty name and checks the result.
func ResolveName(name string) (string, error) {
	if name == "" {
		name = os.Getenv("CLUSTER_NAME")
	}
	if name == "" {
		name = DefaultName
	}
	if !validName.MatchString(name) {
		return "", fmt.Errorf("check cluster name %q: at most 30 lower-case letters, digits and dashes", name)
	}
	return name, nil
}

// Attach finds the cluster of that name; empty is the default name. It fails
// with fs.ErrNotExist when there is none. The cluster need not be healthy.
func Attach(name string) (*Cluster, error) {
	c, err := open(name)
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(c.path("cluster.json"))
	if err != nil {
		return nil, fmt.Errorf("find cluster %s: %w", c.name, err)
	}
	var d description
	if err := json.Unmarshal(content, &d); err != nil {
		return nil, fmt.Errorf("read cluster %s: %w", c.name, err)
	}
	c.nodes, c.binaries = d.Nodes, d.Binaries
	return c, nil
}

// open prepares a handle without looking at any state.
func open(name string) (*Cluster, error) {
	name, err := ResolveName(name)
	if err != nil {
		return nil, err
	}
	cgroups, err := hierarchies()
	if err != nil {
		return nil, err
	}
	return &Cluster{name: name, dir: filepath.Join(stateRoot, name), cgroups: cgroups}, nil
}

// Name is the cluster's name.
func (c *Cluster) Name() string { return c.name }

// Nodes are the names of the nodes, in order. The control plane shares the
// network of the first.
func (c *Cluster) Nodes() []string {
	var names []string
	for i := 1; i <= c.nodes; i++ {
		names = append(names, nodeName(i))
	}
	return names
}

// NodeIP is the address of a node; empty when there is no such node.
func (c *Cluster) NodeIP(node string) string {
	i, err := c.nodeIndex(node)
	if err != nil {
		return ""
	}
	return nodeIP(i)
}

// Kubeconfig is the path of the administrator's kubeconfig. Its address is valid
// inside the cluster's network: prefix commands with Enter, or use Kubectl.
func (c *Cluster) Kubeconfig() string {
	if c.existing != nil {
		return c.existing.kubeconfig
	}
	return c.path("pki", "admin.kubeconfig")
}

// RESTConfig authenticates as administrator and dials from inside the cluster's
// network, so it works from any process on this machine that is root.
func (c *Cluster) RESTConfig() *rest.Config {
	if c.existing != nil {
		return rest.CopyConfig(c.existing.config)
	}
	return &rest.Config{
		Host: c.server(),
		TLSClientConfig: rest.TLSClientConfig{
			CAFile: c.path("pki", "ca.crt"), CertFile: c.path("pki", "admin.crt"), KeyFile: c.path("pki", "admin.key"),
		},
		Dial:  c.Dialer(nodeName(1)),
		QPS:   500,
		Burst: 1000,
	}
}

func (c *Cluster) server() string { return "https://" + nodeIP(1) + ":" + apiserverPort }

// Enter is the command prefix that runs a program in the network of a node.
func (c *Cluster) Enter(node string) []string {
	return []string{lookPath("nsenter"), "--net=" + c.netns(node), "--"}
}

// KubectlCommand is the argument vector of a kubectl call as administrator.
func (c *Cluster) KubectlCommand(args ...string) []string {
	if c.existing != nil {
		return append([]string{c.existing.kubectl, "--kubeconfig=" + c.existing.kubeconfig}, args...)
	}
	argv := append(c.Enter(nodeName(1)), filepath.Join(c.binaries, "kubectl"), "--kubeconfig="+c.Kubeconfig())
	return append(argv, args...)
}

// Kubectl runs kubectl as administrator and returns its output, both streams; an
// error holds it too.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	argv := c.KubectlCommand(args...)
	return run(ctx, "", argv[0], argv[1:]...)
}

// LogPath is the file of a daemon's log, see StartDaemon for names.
func (c *Cluster) LogPath(daemon string) string { return c.path("logs", daemon+".log") }

// logTail is the end of a daemon's log, for error messages.
func (c *Cluster) logTail(daemon string) string {
	content, err := os.ReadFile(c.LogPath(daemon))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

func (c *Cluster) path(parts ...string) string {
	return filepath.Join(append([]string{c.dir}, parts...)...)
}

// group is a cgroup of this cluster, relative to a hierarchy's mount point.
func (c *Cluster) group(part string) string {
	return filepath.Join("sts-webhook-test-"+c.name, part)
}

// daemonsGroup is the directory of the cgroup that a part's daemons start in. It
// is a leaf, since cgroup v2 wants no processes beside the kubelet's groups.
func (c *Cluster) daemonsGroup(part string) string {
	return filepath.Join(tracking(c.cgroups).mount, c.group(part), "daemons")
}

// Down ends every process of the cluster and deletes its network namespaces,
// cgroups and files, whatever state a run has left them in. Nothing of a cluster
// outlives it, so its processes are killed, not asked. A cluster that does not
// exist is fine.
func Down(ctx context.Context, name string) error {
	c, err := open(name)
	if err != nil {
		return err
	}
	unlock, err := lock(ctx, c.name)
	if err != nil {
		return err
	}
	defer unlock()
	return c.remove(ctx)
}

// Down removes this cluster, see the function Down.
func (c *Cluster) Down() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return Down(ctx, c.name)
}

// remove is Down for a caller that holds the lock. Files go last: while they
// are there, the cluster can be found.
func (c *Cluster) remove(ctx context.Context) error {
	if err := killGroup(ctx, c.cgroups, c.group("")); err != nil {
		return err
	}
	if err := c.deleteNetwork(ctx); err != nil {
		return err
	}
	if err := removeGroup(ctx, c.cgroups, c.group("")); err != nil {
		return err
	}
	if err := os.RemoveAll(c.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete files: %w", err)
	}
	return nil
}
