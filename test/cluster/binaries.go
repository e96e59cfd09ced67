package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// programs are the binaries of a cluster and the packages that build them.
var programs = []struct{ name, pkg string }{
	{"etcd", "go.etcd.io/etcd/server/v3"},
	{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"},
	{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"},
	{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"},
	{"kubelet", "k8s.io/kubernetes/cmd/kubelet"},
	{"kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"},
	{"kubectl", "k8s.io/kubernetes/cmd/kubectl"},
}

// binaries returns the directory with the programs of the cluster and builds them
// first if this user has none of the pinned version: about 11 minutes on 2 cores.
// The directory appears as a whole, so an interrupted build leaves none; what it
// compiled is in Go's build cache.
func binaries(ctx context.Context, s *steps) (string, error) {
	module, err := kubernetesModule(ctx)
	if err != nil {
		return "", err
	}
	version, err := goCommand(ctx, module, "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
	if err != nil {
		return "", err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "kubernetes-"+version)
	if complete(dir) {
		return dir, nil
	}
	unlock, err := lockFile(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if complete(dir) {
		return dir, nil
	}
	return dir, build(ctx, s, module, version, dir)
}

func build(ctx context.Context, s *steps, module, version, dir string) error {
	// The lock is held, so a directory of that name is an interrupted build's.
	unfinished := dir + ".unfinished"
	for _, old := range []string{unfinished, dir} {
		if err := os.RemoveAll(old); err != nil {
			return fmt.Errorf("delete unfinished build: %w", err)
		}
	}
	s.done("building Kubernetes %s once for %s: about 11 minutes on 2 cores", version, dir)
	for i, p := range programs {
		s.done("building %d/%d: %s", i+1, len(programs), p.name)
		_, err := goCommand(ctx, module, "build", "-trimpath",
			"-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion="+version,
			"-o", filepath.Join(unfinished, p.name), p.pkg)
		if err != nil {
			return err
		}
	}
	if err := os.Rename(unfinished, dir); err != nil {
		return fmt.Errorf("finish build: %w", err)
	}
	s.done("Kubernetes %s built", version)
	return nil
}

func complete(dir string) bool {
	for _, p := range programs {
		if info, err := os.Stat(filepath.Join(dir, p.name)); err != nil || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

// cacheDir is this project's directory in the user's cache.
func cacheDir() (string, error) {
	user, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache directory: %w", err)
	}
	dir := filepath.Join(user, "sts-mutating-webhook")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("create cache directory: %w", err)
	}
	return dir, nil
}

// kubernetesModule is the directory of the module that pins Kubernetes.
func kubernetesModule(ctx context.Context) (string, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "test", "cluster", "kubernetes"), nil
}

// moduleRoot is the checkout that the working directory is in.
func moduleRoot(ctx context.Context) (string, error) {
	file, err := goCommand(ctx, "", "env", "GOMOD")
	if err != nil {
		return "", err
	}
	if file == "" || file == os.DevNull {
		return "", errors.New("find checkout: the working directory is in no Go module")
	}
	return filepath.Dir(file), nil
}

// goCommand runs the go command in dir and returns its trimmed standard output.
// Programs are built static, without cgo.
func goCommand(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run go %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
