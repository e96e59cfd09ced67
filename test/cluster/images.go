package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
)

// PauseImage does nothing until SIGTERM. It is the sandbox of every pod
// and the lightest container for pods that only have to be placed.
const PauseImage = "sts-webhook-test/pause:1"

// WebhookImageName is the image of manifests/.
const WebhookImageName = "sts-webhook:latest"

// module is the name of this project's Go module.
const module = "sts-mutating-webhook"

// LoadImage loads a "docker save" archive into every running node. Pods that name
// it need imagePullPolicy IfNotPresent or Never.
func (c *Cluster) LoadImage(ctx context.Context, archive string) error {
	nodes, nodesCtx := errgroup.WithContext(ctx)
	for _, node := range c.Nodes() {
		if c.alive(node + "." + Runtime) {
			nodes.Go(func() error { return c.loadInto(nodesCtx, node, archive) })
		}
	}
	return nodes.Wait()
}

func (c *Cluster) loadInto(ctx context.Context, node, archive string) error {
	absolute, err := filepath.Abs(archive)
	if err != nil {
		return fmt.Errorf("load image: %w", err)
	}
	if _, err := c.ctr(ctx, node, "images", "import", absolute); err != nil {
		return fmt.Errorf("load image into %s: %w", node, err)
	}
	return nil
}

// WebhookImage is the image of the webhook around its static binary. It holds the
// same as the final stage of the Dockerfile.
func WebhookImage(binary, version, revision string) Image {
	return Image{
		Name: WebhookImageName,
		Files: []ImageFile{
			{Path: "/sts-webhook", Mode: 0o755, Source: binary},
			{Path: caCertificates, Source: caCertificates},
		},
		Entrypoint: []string{"/sts-webhook"},
		User:       "65532:65532",
		Labels: map[string]string{
			"org.opencontainers.image.title":    "sts-webhook",
			"org.opencontainers.image.version":  version,
			"org.opencontainers.image.revision": revision,
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
}

// BuildWebhookImage compiles the webhook of this checkout and writes its image.
func BuildWebhookImage(ctx context.Context, archive string) error {
	return BuildWebhookVariant(ctx, WebhookImageName, archive)
}

// BuildWebhookVariant writes an image of the webhook in which string variables of the
// program have other values, each given as the linker takes it: "importpath.name=value".
func BuildWebhookVariant(ctx context.Context, name, archive string, variables ...string) error {
	return BuildWebhookOf(ctx, "", name, archive, variables...)
}

// BuildWebhookOf does what BuildWebhookVariant does for the webhook of another source tree, given by its directory, in which
// go.mod is. It compiles that tree and writes nothing there.
func BuildWebhookOf(ctx context.Context, root, name, archive string, variables ...string) error {
	version, revision := gitVersion(ctx, root)
	return buildAround(ctx, root, ".", archive, variables, func(binary string) Image {
		image := WebhookImage(binary, version, revision)
		image.Name = name
		return image
	})
}

// BuildProgramImage compiles the program in a directory of this checkout, for
// example "test/cluster/probe", and writes an image with it as entry point.
func BuildProgramImage(ctx context.Context, name, program, archive string) error {
	return buildAround(ctx, "", program, archive, nil, func(binary string) Image {
		return Image{
			Name:       name,
			Files:      []ImageFile{{Path: "/program", Mode: 0o755, Source: binary}},
			Entrypoint: []string{"/program"},
			User:       "65532:65532",
		}
	})
}

// buildAround compiles a program and writes the image that image makes around the binary.
func buildAround(ctx context.Context, root, program, archive string, variables []string, image func(binary string) Image) error {
	dir, err := os.MkdirTemp("", "sts-webhook-image")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "program")
	if err := compile(ctx, root, program, binary, variables...); err != nil {
		return err
	}
	return BuildImage(archive, image(binary))
}

// Compile builds the main package in a directory of this checkout as a static
// binary without paths of this machine.
func Compile(ctx context.Context, program, binary string) error {
	return compile(ctx, "", program, binary)
}

// compile does what Compile does in another tree, given by its root; empty is the tree that the working directory is in.
func compile(ctx context.Context, root, program, binary string, variables ...string) error {
	if program == "." {
		version, revision := gitVersion(ctx, root)
		variables = append(variables, module+"/internal/app.version="+version, module+"/internal/app.revision="+revision)
	}
	linker := strings.Join(append([]string{"-s -w"}, variables...), " -X ")
	_, err := goCommand(ctx, root, "build", "-trimpath", "-ldflags", linker, "-o", binary, path.Join(module, program))
	return err
}

// gitVersion is what make image gives the Dockerfile: both are empty where there is no
// git checkout, and the program then shows "devel".
func gitVersion(ctx context.Context, root string) (version, revision string) {
	git := func(args ...string) string {
		out, _ := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...).Output()
		return strings.TrimSpace(string(out))
	}
	return git("describe", "--tags", "--always", "--dirty"), git("rev-parse", "HEAD")
}

// pauseImage builds the sandbox image, or finds the one built before.
func pauseImage(ctx context.Context) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	archive := filepath.Join(cache, "pause-1.tar")
	if exists(archive) {
		return archive, nil
	}
	return archive, BuildProgramImage(ctx, PauseImage, "test/cluster/pause", archive)
}
