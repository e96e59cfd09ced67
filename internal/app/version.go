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

// version is set by the linker (make build); without it the build's own record is used.
var version string

// programVersion returns the version, "devel" if none is known, and the commit, which
// may be empty.
func programVersion() (known, revision string) {
	known = version
	if info, ok := debug.ReadBuildInfo(); ok {
		if known == "" && info.Main.Version != "(devel)" {
			known = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	return cmp.Or(known, "devel"), revision
}

// versionText is what --version prints.
func versionText() string {
	known, revision := programVersion()
	if revision != "" {
		revision = fmt.Sprintf(" (%.12s)", revision)
	}
	return fmt.Sprintf("sts-webhook %s%s %s %s/%s", known, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// newBuildInfo is the metric sts_webhook_build_info, whose labels say what runs.
func newBuildInfo() prometheus.Collector {
	promversion.Version, promversion.Revision = programVersion()
	return versioncollector.NewCollector("sts_webhook")
}
