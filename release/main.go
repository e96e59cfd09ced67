// Command release writes what users of a version download into dist/:
//
//	install.yaml                  manifests/*.yaml as one file, with the image of this version
//	optional-NAME.yaml            manifests/optional/NAME/*.yaml as one file, for each NAME
//	sts-webhook-OS-ARCH           the program
//	sts-webhook-OS-ARCH.cdx.json  the modules in it, a CycloneDX SBOM
//	sts-webhook-X.Y.Z.tgz         the Helm chart
//	checksums.txt                 the SHA-256 of each
//
// The same commit, version, image and Go release give the same bytes, on any machine of one kind and in any directory: paths,
// the time and tags of the checkout are in none of them. Run it with make release VERSION=v0.1.0 at the root of the checkout.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// release is one version, and the commit that it is made of.
type release struct {
	version, image string
	commit
	dir string // where files are written
	log io.Writer
}

func run(ctx context.Context, args []string, log io.Writer) error {
	flags := pflag.NewFlagSet("release", pflag.ContinueOnError)
	version := flags.String("version", "", "the version, vX.Y.Z or vX.Y.Z-PRE")
	image := flags.String("image", "", "the image of install.yaml, with or without tag or digest; empty means "+placeholder)
	if err := flags.Parse(args); errors.Is(err, pflag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	reference, imageErr := imageReference(*image, *version)
	if err := errors.Join(checkVersion(*version), imageErr); err != nil {
		return err
	}
	from, err := readCommit(ctx)
	if err != nil {
		return err
	}
	r := &release{version: *version, image: reference, commit: from, dir: "dist.unfinished", log: log}
	if err := r.write(ctx); err != nil {
		return err
	}
	if *image == "" {
		r.report("install.yaml names %s, which nobody can pull: give IMAGE=REGISTRY/NAME for a release to publish", reference)
	}
	return nil
}

// write makes dist/ as a whole: after a failure it is what it was before.
func (r *release) write(ctx context.Context) error {
	if err := os.RemoveAll(r.dir); err != nil {
		return fmt.Errorf("remove an unfinished release: %w", err)
	}
	if err := os.Mkdir(r.dir, 0o755); err != nil {
		return fmt.Errorf("create directory: %w", err)
	}
	defer os.RemoveAll(r.dir)
	for _, step := range []func(context.Context) error{r.writeInstall, r.writeOptional, r.buildPrograms, r.packageChart, r.writeChecksums} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := os.RemoveAll("dist"); err != nil {
		return fmt.Errorf("remove the release before: %w", err)
	}
	if err := os.Rename(r.dir, "dist"); err != nil {
		return fmt.Errorf("finish release: %w", err)
	}
	r.report("dist/ holds %s of commit %.12s", r.version, r.revision)
	return nil
}

func (r *release) report(format string, args ...any) {
	fmt.Fprintf(r.log, "release: "+format+"\n", args...)
}

func (r *release) path(name string) string { return filepath.Join(r.dir, name) }
