package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
	// Log gets one line per step with its time.
	Log io.Writer
}

// Cluster is a running cluster, or one that a failed run left behind.
type Cluster struct {
	name string
	// dir holds its files, below stateRoot; it is empty for a cluster that was not brought up here.
	dir     string
	cgroups []hierarchy
	// kubeconfig, kubectl and config are the administrator's: a file, a command, and the same for clients.
	kubeconfig string
	kubectl    []string
	config     *rest.Config
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
	if _, err := os.Stat(c.path("bin")); err != nil {
		return nil, fmt.Errorf("find cluster %s: %w", c.name, err)
	}
	return c, nil
}

// open prepares a handle without looking at any state.
func open(name string) (*Cluster, error) {
	name, err := ResolveName(name)
	if err != nil {
		return nil, err
	}
	c := &Cluster{name: name, dir: filepath.Join(stateRoot, name)}
	c.kubeconfig = c.path("pki", "admin.kubeconfig")
	c.kubectl = append(c.Enter("node-1"), c.path("bin", "kubectl"))
	c.config = &rest.Config{
		Host: controlPlaneURL + apiserverPort,
		TLSClientConfig: rest.TLSClientConfig{
			CAFile: c.path("pki", "ca.crt"), CertFile: c.path("pki", "admin.crt"), KeyFile: c.path("pki", "admin.key"),
		},
		Dial:  c.Dialer("node-1"),
		QPS:   500,
		Burst: 1000,
	}
	c.cgroups, err = hierarchies()
	return c, err
}

// Name is the cluster's name.
func (c *Cluster) Name() string { return c.name }

// Nodes are the names of the nodes, in order. The control plane shares the
// network of the first.
func (c *Cluster) Nodes() []string { return slices.Clone(nodeNames) }

// NodeIP is the address of a node; empty when there is no such node.
func (c *Cluster) NodeIP(node string) string { return nodeIPs[node] }

// Kubeconfig is the path of the administrator's kubeconfig. Its address is valid
// inside the cluster's network: prefix commands with Enter, or use Kubectl.
func (c *Cluster) Kubeconfig() string { return c.kubeconfig }

// RESTConfig authenticates as administrator and dials from inside the cluster's
// network, so it works from any process on this machine that is root.
func (c *Cluster) RESTConfig() *rest.Config { return rest.CopyConfig(c.config) }

// Enter is the command prefix that runs a program in the network of a node.
func (c *Cluster) Enter(node string) []string {
	return []string{lookPath("nsenter"), "--net=" + c.netns(node), "--"}
}

// KubectlCommand is the argument vector of a kubectl call as administrator.
func (c *Cluster) KubectlCommand(args ...string) []string {
	return slices.Concat(c.kubectl, []string{"--kubeconfig=" + c.kubeconfig}, args)
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

// Down ends every process of the cluster and deletes its network namespaces,
// cgroups and files, whatever state a run has left them in. Nothing of a cluster
// outlives it, so its processes are killed without warning. A cluster that does not
// exist is fine.
func Down(ctx context.Context, name string) error {
	c, err := open(name)
	if err != nil {
		return err
	}
	unlock, err := c.lock(ctx)
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
	if err := c.killGroup(ctx, ""); err != nil {
		return err
	}
	if err := c.deleteNetwork(ctx); err != nil {
		return err
	}
	if err := c.removeGroup(ctx, ""); err != nil {
		return err
	}
	return os.RemoveAll(c.dir)
}
