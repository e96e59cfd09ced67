package cluster

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// programs are the names by which the one binary of a cluster is started.
var programs = []string{Etcd, APIServer, ControllerManager, Scheduler, Kubelet, KubeProxy, "kubectl"}

// binaries returns the directory with the programs of the cluster and builds them
// first if this user has none of that version, built in this way.
// The directory appears as a whole, so an interrupted build leaves none; what it
// compiled is in Go's build cache.
func binaries(ctx context.Context, done step) (string, error) {
	k, err := chooseRelease(ctx)
	if err != nil {
		return "", err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, k.directory())
	unlock, err := lockFile(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	missing := func(name string) bool { return !exists(filepath.Join(dir, name)) }
	if !slices.ContainsFunc(programs, missing) {
		return dir, nil
	}
	return dir, k.build(ctx, done, dir)
}

// directory names the version and the way it is built: a change of either builds
// anew, and leaves the binaries of clusters that run alone.
func (k *release) directory() string {
	recipe := sha256.Sum256([]byte(strings.Join(append(k.buildFlags(), k.sources), "\n")))
	return fmt.Sprintf("kubernetes-%s-%x", k.version, recipe[:4])
}

// buildFlags compile without debugging information, which the linker would drop: a sixth
// less work (docs/decisions/0007-kubernetes-build.md).
// The standard library keeps its flags, so that the webhook is built with the same one.
func (k *release) buildFlags() []string {
	return []string{"-trimpath", "-gcflags=all=-dwarf=false", "-gcflags=std=",
		"-ldflags=-s -w -X k8s.io/component-base/version.gitVersion=" + k.version}
}

func (k *release) build(ctx context.Context, done step, dir string) error {
	// The lock is held, so a directory of that name is an interrupted build's.
	unfinished := dir + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return fmt.Errorf("delete unfinished build: %w", err)
	}
	module, err := k.module(ctx)
	if err != nil {
		return err
	}
	done("building Kubernetes %s once for %s: about 5 minutes on 2 free cores", k.version, dir)
	binary := filepath.Join(unfinished, "kubernetes")
	if err := buildWithProgress(ctx, done, module, append(k.buildFlags(), "-o", binary)); err != nil {
		return fmt.Errorf("build Kubernetes %s: %w", k.version, err)
	}
	for _, name := range programs {
		if err := os.Link(binary, filepath.Join(unfinished, name)); err != nil {
			return fmt.Errorf("finish build: %w", err)
		}
	}
	if err := os.Rename(unfinished, dir); err != nil {
		return fmt.Errorf("finish build: %w", err)
	}
	done("Kubernetes %s built", k.version)
	return nil
}

// buildWithProgress runs go build in a module, and says how many of its packages are compiled.
func buildWithProgress(ctx context.Context, done step, module string, flags []string) error {
	packages, err := goCommand(ctx, module, "list", "-deps", ".")
	if err != nil {
		return err
	}
	total := strings.Count(packages, "\n") + 1
	// -v names each package on standard error when it is compiled.
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-v"}, flags, []string{"."})...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOGC=400") // the compiler collects its garbage less often
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run go build: %w", err)
	}
	var last []string
	compiled := 0
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		last = append(last[max(0, len(last)-19):], lines.Text())
		if compiled++; compiled%200 == 0 {
			done("compiled %d of %d packages", compiled, total)
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("run go build: %w:\n%s", err, strings.Join(last, "\n"))
	}
	return nil
}

// cacheDir is this project's directory in the user's cache.
func cacheDir() (string, error) {
	user, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(user, "sts-mutating-webhook")
	return dir, os.MkdirAll(dir, 0o755)
}

// moduleRoot is the checkout that the working directory is in.
func moduleRoot(ctx context.Context) (string, error) {
	return goCommand(ctx, "", "list", "-m", "-f", "{{.Dir}}")
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
