package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// packages are the Debian packages a cluster needs, each with a file that tells
// whether it is there. Bare names are looked up on systemPath.
var packages = []struct{ name, file string }{
	{"containerd", "containerd"},
	{"runc", "runc"},
	{"containernetworking-plugins", "/usr/lib/cni/ptp"},
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

func missingPackages() []string {
	var missing []string
	for _, p := range packages {
		if p.file == "/usr/lib/cni/ptp" && exists(filepath.Join(cniPlugins(), "ptp")) {
			continue
		}
		if !exists(lookPath(p.file)) {
			missing = append(missing, p.name)
		}
	}
	return missing
}

// installPackages installs what is missing where that is possible, and otherwise
// names it.
func installPackages(ctx context.Context, s *steps) error {
	missing := missingPackages()
	if len(missing) == 0 {
		return nil
	}
	install := "apt-get install --no-install-recommends " + strings.Join(missing, " ")
	if os.Geteuid() != 0 || !exists("/etc/debian_version") || !exists("/usr/bin/apt-get") {
		return fmt.Errorf("find programs: missing packages %s; on Debian, as root: %s", strings.Join(missing, ", "), install)
	}
	s.done("installing Debian packages %s", strings.Join(missing, ", "))
	args := append([]string{"DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "--no-install-recommends"}, missing...)
	if _, err := run(ctx, "", "env", args...); err != nil {
		// A fresh machine has no package lists, or old ones.
		if _, err := run(ctx, "", "apt-get", "update"); err != nil {
			return fmt.Errorf("install packages %s: %w", strings.Join(missing, ", "), err)
		}
		if _, err := run(ctx, "", "env", args...); err != nil {
			return fmt.Errorf("install packages: %w", err)
		}
	}
	if missing = missingPackages(); len(missing) > 0 {
		return fmt.Errorf("install packages: still missing %s", strings.Join(missing, ", "))
	}
	return nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
