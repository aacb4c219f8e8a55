package fsys

import (
	"testing"

	"pgregory.net/rapid"
)

func TestAPathIsCanonicalIfParsingLeavesItAsItIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.OneOf(rapid.StringMatching(`[a./]{0,6}`), rapid.String()).Draw(t, "path")
		segs, err := ParsePath(path)
		if want := err == nil && len(segs) > 0 && join(segs) == path; canonical(path) != want {
			t.Fatalf("canonical(%q) is %v", path, !want)
		}
	})
}
