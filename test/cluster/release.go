package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// release is a version of Kubernetes and the module that builds it.
type release struct {
	version string
	// pinned is the directory of the module of this checkout, which pins one version.
	pinned string
	// sources are what the binary depends on beside the build's flags.
	sources string
	// other says that the version is another one than the pinned one.
	other bool
}

// chooseRelease returns the pinned version, or the one that the variable K8S names: "v1.35.4", or "v1.35.x" for the newest of
// these.
func chooseRelease(ctx context.Context) (*release, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return nil, err
	}
	k := &release{pinned: filepath.Join(root, "test", "cluster", "kubernetes")}
	if k.version, err = goCommand(ctx, k.pinned, "list", "-m", "-f", "{{.Version}}", kubernetesPath); err != nil {
		return nil, err
	}
	if named := os.Getenv("K8S"); named != "" {
		version, err := goCommand(ctx, k.pinned, "list", "-m", "-f", "{{.Version}}", kubernetesPath+"@"+strings.TrimSuffix(named, ".x"))
		if err != nil {
			return nil, fmt.Errorf("find Kubernetes K8S=%s: give a version such as v1.35.4, or v1.35.x: %w", named, err)
		}
		k.version, k.other = version, version != k.version
	}
	for _, file := range []string{"main.go", "go.mod"} {
		content, err := os.ReadFile(filepath.Join(k.pinned, file))
		if err != nil {
			return nil, fmt.Errorf("read module of Kubernetes: %w", err)
		}
		if file == "main.go" || !k.other {
			k.sources += string(content)
		}
	}
	return k, nil
}

const kubernetesPath = "k8s.io/kubernetes"

// module returns the directory of a module that builds this version. For the pinned one it is the checkout's; for another it is
// made in the cache.
func (k *release) module(ctx context.Context) (string, error) {
	if !k.other {
		return k.pinned, nil
	}
	text, err := k.goMod(ctx)
	if err != nil {
		return "", err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "module-"+k.version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("create module: %w", err)
	}
	program, err := os.ReadFile(filepath.Join(k.pinned, "main.go"))
	if err != nil {
		return "", fmt.Errorf("create module: %w", err)
	}
	for name, content := range map[string][]byte{"main.go": program, "go.mod": []byte(text)} {
		if err := writeFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return "", err
		}
	}
	// -e: what only tests of dependencies import may be missing.
	if _, err := goCommand(ctx, dir, "mod", "tidy", "-e"); err != nil {
		return "", err
	}
	return dir, nil
}

// goMod requires k8s.io/kubernetes. That module replaces its parts, such as k8s.io/api, by directories of its repository; as
// modules they have the version v0.X.Y where Kubernetes has v1.X.Y.
func (k *release) goMod(ctx context.Context) (string, error) {
	out, err := goCommand(ctx, k.pinned, "mod", "download", "-json", kubernetesPath+"@"+k.version)
	if err != nil {
		return "", err
	}
	var downloaded struct{ GoMod string }
	if err := json.Unmarshal([]byte(out), &downloaded); err != nil {
		return "", fmt.Errorf("download Kubernetes %s: %w", k.version, err)
	}
	if out, err = goCommand(ctx, k.pinned, "mod", "edit", "-json", downloaded.GoMod); err != nil {
		return "", err
	}
	var theirs struct {
		Replace []struct{ Old struct{ Path string } }
	}
	if err := json.Unmarshal([]byte(out), &theirs); err != nil {
		return "", fmt.Errorf("read go.mod of Kubernetes %s: %w", k.version, err)
	}
	text := fmt.Sprintf("module kubernetes\n\ngo 1.26.0\n\nrequire %s %s\n", kubernetesPath, k.version)
	for _, part := range theirs.Replace {
		text += fmt.Sprintf("\nreplace %s => %[1]s v0.%s", part.Old.Path, strings.TrimPrefix(k.version, "v1."))
	}
	return text + "\n", nil
}
