package app

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	promversion "github.com/prometheus/common/version"
)

// version and revision are set by the linker (make release, Dockerfile). What is not set is taken from the build's own record.
var version, revision string

// programVersion returns the version, "devel" if none is known, and the commit, which
// may be empty.
func programVersion() (known, commit string) {
	known, commit = version, revision
	if info, ok := debug.ReadBuildInfo(); ok {
		if known == "" && info.Main.Version != "(devel)" {
			known = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && commit == "" {
				commit = s.Value
			}
		}
	}
	return cmp.Or(known, "devel"), commit
}

// versionText is what --version prints.
func versionText() string {
	known, commit := programVersion()
	if commit != "" {
		commit = fmt.Sprintf(" (%.12s)", commit)
	}
	return fmt.Sprintf("sts-webhook %s%s %s %s/%s", known, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// newBuildInfo is the metric sts_webhook_build_info, whose labels say what runs.
func newBuildInfo() prometheus.Collector {
	promversion.Version, promversion.Revision = programVersion()
	return versioncollector.NewCollector("sts_webhook")
}
