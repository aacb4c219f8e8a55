package fsys

import (
	"flag"

	"github.com/efs-project/efs/internal/israce"
)

func init() {
	if israce.Enabled {
		_ = flag.Set("rapid.checks", "40") // of 100, which take minutes then
	}
}
