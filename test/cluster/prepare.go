package cluster

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
)

//go:embed config
var configFiles embed.FS

var configs = template.Must(template.ParseFS(configFiles, "config/*"))

// prepare makes everything that is not a process. The cluster runs the programs in the
// directory binaries.
func (c *Cluster) prepare(ctx context.Context, binaries string) error {
	if err := raiseInotify(); err != nil {
		return err
	}
	// The last two are mount points for the nodes' tmpfs, empty on the machine itself.
	dirs := []string{c.path("logs"), c.path("pids"), c.path("pki"), c.path("config"), "/var/lib/cni", "/var/lib/kubelet"}
	for _, node := range nodeNames {
		dirs = append(dirs, c.path(node, "cni"))
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink(binaries, c.path("bin")); err != nil {
		return err
	}
	if err := c.makeGroups(); err != nil {
		return err
	}
	if err := c.makeNetwork(ctx); err != nil {
		return err
	}
	if err := c.makePKI(); err != nil {
		return err
	}
	return c.writeConfigs()
}

// writeConfigs renders the files below config/ for every user and daemon.
func (c *Cluster) writeConfigs() error {
	values := map[string]any{
		"Cluster": c.name, "Server": c.config.Host, "PKI": c.path("pki"),
		"PauseImage": PauseImage, "CNIPlugins": cniPlugins(),
	}
	render := func(name string, file ...string) error {
		var out bytes.Buffer
		if err := configs.ExecuteTemplate(&out, name, values); err != nil {
			return fmt.Errorf("render %s: %w", name, err)
		}
		return writeFile(c.path(file...), out.Bytes(), 0o644)
	}
	for _, user := range append(c.Nodes(), "admin", "kube-controller-manager", "kube-scheduler", "kube-proxy") {
		values["User"] = user
		if err := render("kubeconfig", "pki", user+".kubeconfig"); err != nil {
			return err
		}
	}
	for _, name := range []string{"kube-scheduler.yaml", "audit.yaml"} {
		if err := render(name, "config", name); err != nil {
			return err
		}
	}
	for _, node := range nodeNames {
		values["Name"], values["Dir"], values["CgroupRoot"], values["PodSubnet"] = node, c.path(node), "/"+c.group(node), podSubnets[node]
		for _, file := range []string{"containerd.toml", "kubelet.yaml", "kube-proxy.yaml", "cni/pods.conflist"} {
			if err := render(filepath.Base(file), node, file); err != nil {
				return err
			}
		}
	}
	return nil
}

// inotifyFile is how many inotify instances a user may have, inotifyInstances what some clusters beside each other need: a node
// takes about ten, and without them kubelets end with "too many open files". Debian's default is 128.
const (
	inotifyFile      = "/proc/sys/fs/inotify/max_user_instances"
	inotifyInstances = 1024
)

// raiseInotify raises the limit of the machine, if it is lower.
func raiseInotify() error {
	text, err := os.ReadFile(inotifyFile)
	if err != nil {
		return fmt.Errorf("read limit: %w", err)
	}
	limit := strings.TrimSpace(string(text))
	if n, err := strconv.Atoi(limit); err == nil && n >= inotifyInstances {
		return nil
	}
	if err := os.WriteFile(inotifyFile, []byte(strconv.Itoa(inotifyInstances)), 0o644); err != nil {
		return fmt.Errorf("raise limit from %s to %d, for several clusters on one machine: %w", limit, inotifyInstances, err)
	}
	return nil
}
