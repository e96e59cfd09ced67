package app

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker (make build); without it the build's own record is used.
var version string

// versionText is what --version prints.
func versionText() string {
	known, revision := version, ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if known == "" && info.Main.Version != "(devel)" {
			known = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = fmt.Sprintf(" (%.12s)", s.Value)
			}
		}
	}
	return fmt.Sprintf("sts-webhook %s%s %s %s/%s", cmp.Or(known, "devel"), revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
