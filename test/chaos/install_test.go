package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

const (
	textbookImage = "sts-webhook-test/textbook:1"
	// nextFormatImage is our webhook, but with the next format of its record.
	nextFormatImage = "sts-webhook-test/next-format:1"
	nextFormat      = 2
)

// quickFlags let a rotation take seconds.
var quickFlags = []string{"--ca-overlap=2s", "--rotation-check=1s"}

func (s *suite) textbookManifest() string {
	return s.Path("test/textbook/manifests/textbook.yaml")
}

// copyManifests copies manifests/ into a directory with three replicas, quickFlags,
// and what change makes of each file; nil changes nothing.
func (s *suite) copyManifests(dir string, change func(file, content string) string) error {
	files, err := filepath.Glob(s.Path("manifests/*.yaml"))
	if err != nil {
		return err
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if filepath.Base(name) == "40-deployment.yaml" {
			d, err := s.deployment(replicas, quickFlags)
			if err != nil {
				return err
			}
			if content, err = yaml.Marshal(d); err != nil {
				return err
			}
		}
		if change != nil {
			content = []byte(change(filepath.Base(name), string(content)))
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// deployment is the one of the manifests with other replicas and flags.
func (s *suite) deployment(n int32, flags []string) (*appsv1.Deployment, error) {
	content, err := os.ReadFile(s.Path("manifests/40-deployment.yaml"))
	if err != nil {
		return nil, err
	}
	var d appsv1.Deployment
	if err := yaml.UnmarshalStrict(content, &d); err != nil {
		return nil, fmt.Errorf("read Deployment: %w", err)
	}
	d.Spec.Replicas, d.Spec.Template.Spec.Containers[0].Args = &n, flags
	return &d, nil
}

func (s *suite) apply(ctx context.Context) error {
	_, err := s.Cluster.Kubectl(ctx, "apply", "-f", s.manifests)
	return err
}

// reinstall makes ours as fresh as a first installation.
func (s *suite) reinstall(ctx context.Context) error {
	if err := s.Uninstall(ctx); err != nil {
		return err
	}
	if err := s.apply(ctx); err != nil {
		return err
	}
	return s.ours.settle(ctx, settleTimeout)
}

// configure gives ours these flags and waits until no replica with others is left:
// one that drains rotates too, and by its own flags.
func (s *suite) configure(ctx context.Context, flags ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := s.Configure(ctx, flags...); err != nil {
		return err
	}
	if err := s.ours.drained(ctx, replicas); err != nil {
		return err
	}
	return s.ours.settle(ctx, settleTimeout)
}
