// Package version tells which build of EFS is running.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version is the release, set by the linker
// (-X github.com/efs-project/efs/internal/version.Version=v1.2.3).
var Version = "dev"

// String returns the release, the commit it was built from where the build
// recorded one, and the Go release and platform, on one line.
func String() string {
	return fmt.Sprintf("%s%s %s %s/%s", Version, commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// commit returns " (abcdef123456)", with "+" when the tree was modified, or
// nothing when the build did not record it.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var revision, modified string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				modified = "+"
			}
		}
	}
	if revision == "" {
		return ""
	}
	return " (" + revision + modified + ")"
}
