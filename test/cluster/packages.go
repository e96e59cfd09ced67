package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Package is a Debian package, and a file by which to see whether it is there. A bare
// name is looked up on systemPath.
type Package struct{ Name, File string }

// packages are what a cluster needs.
var packages = []Package{
	{"containerd", "containerd"},
	{"runc", "runc"},
	{"containernetworking-plugins", filepath.Join(cniPlugins(), "ptp")},
	{"nftables", "nft"},
	{"iproute2", "ip"},
	{"util-linux", "nsenter"},
	{"mount", "mount"},
	{"ca-certificates", caCertificates},
}

// caCertificates are the roots that programs in our images trust.
const caCertificates = "/etc/ssl/certs/ca-certificates.crt"

// cniPlugins is the directory of the CNI plugins: Debian's, or the one of the
// upstream releases.
func cniPlugins() string {
	if exists("/opt/cni/bin/ptp") {
		return "/opt/cni/bin"
	}
	return "/usr/lib/cni"
}

func missing(packages []Package) []string {
	var missing []string
	for _, p := range packages {
		if !exists(lookPath(p.File)) {
			missing = append(missing, p.Name)
		}
	}
	return missing
}

// InstallPackages installs what is missing where that is possible, and otherwise names it.
func InstallPackages(ctx context.Context, log io.Writer, packages ...Package) error {
	lacking := strings.Join(missing(packages), " ")
	if lacking == "" {
		return nil
	}
	install := "apt-get install --no-install-recommends " + lacking
	if os.Geteuid() != 0 || !exists("/etc/debian_version") || !exists("/usr/bin/apt-get") {
		return fmt.Errorf("find programs: missing packages %s; on Debian, as root: %s", lacking, install)
	}
	fmt.Fprintf(log, "installing Debian packages %s\n", lacking)
	install = "DEBIAN_FRONTEND=noninteractive " + install + " --yes"
	// A fresh machine has no package lists, or old ones.
	if _, err := run(ctx, "", "sh", "-c", install+" || { apt-get update && "+install+"; }"); err != nil {
		return fmt.Errorf("install packages: %w", err)
	}
	if lacking := missing(packages); len(lacking) > 0 {
		return fmt.Errorf("install packages: still missing %s", strings.Join(lacking, ", "))
	}
	return nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
