package cluster

import (
	"fmt"
	"os/exec"

	"k8s.io/client-go/tools/clientcmd"
)

// Existing is the cluster of a kubeconfig's current context. This package has not brought it up and does nothing to it: only
// Name, Kubeconfig, RESTConfig, KubectlCommand and Kubectl work, the last two with the kubectl that is on PATH.
func Existing(kubeconfig string) (*Cluster, error) {
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}, nil)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err)
	}
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err)
	}
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		return nil, fmt.Errorf("find kubectl, which works on the cluster of %s: install it, or put it on PATH: %w", kubeconfig, err)
	}
	return &Cluster{name: raw.CurrentContext, kubeconfig: kubeconfig, kubectl: []string{kubectl}, config: config}, nil
}

// IsExisting tells whether this package has not brought the cluster up.
func (c *Cluster) IsExisting() bool { return c.dir == "" }
