package cluster

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"text/template"
)

//go:embed config
var configFiles embed.FS

var configs = template.Must(template.ParseFS(configFiles, "config/*"))

// maxPods bounds the pods of a node; its subnet has 1022 addresses.
const maxPods = 500

// prepare makes everything that is not a process.
func (c *Cluster) prepare(ctx context.Context) error {
	if err := raiseInotify(); err != nil {
		return err
	}
	dirs := []string{"logs", "pids", "pki", "config"}
	for _, dir := range append(dirs, c.Nodes()...) {
		if err := os.MkdirAll(c.path(dir), 0o755); err != nil {
			return fmt.Errorf("create directory: %w", err)
		}
	}
	// Mount points for the nodes' tmpfs; empty on the machine itself.
	for _, dir := range []string{"/var/lib/cni", "/var/lib/kubelet"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("create directory: %w", err)
		}
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
	if err := render("audit.yaml", c.path("config", "audit.yaml"), nil); err != nil {
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
