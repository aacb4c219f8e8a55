package fsys

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/efs-project/efs"
)

// Whatever is lost of the tree in the middle of a checkpoint: every file whose
// contents are there can be reached, and all leads to each other again.
func TestRebuildMakesTheTreeAnewFromWhatIsLeft(t *testing.T) {
	n := 0
	each := func(of int, spaces ...efs.Space) func(efs.Space) bool {
		return func(s efs.Space) bool {
			if !slices.Contains(spaces, s) {
				return false
			}
			n++
			return n%of == 0
		}
	}
	small := namesLimits{large: 30, flush: 10, fanIn: 4, block: 1000, chunk: 512}
	for what, c := range map[string]struct {
		lost func(efs.Space) bool
		unit bool
	}{
		"every place":                {each(1, efs.SpacePlaces), false},
		"every entry":                {each(1, efs.SpaceEntries), false},
		"every id of a file":         {each(1, efs.SpaceFiles), false},
		"every third of all":         {each(3, efs.SpacePlaces, efs.SpaceEntries, efs.SpaceFiles), false},
		"every place of units":       {each(1, efs.SpacePlaces), true},
		"every other entry of units": {each(2, efs.SpaceEntries), true},
	} {
		t.Run(what, func(t *testing.T) {
			e := newEnv(t, func(e *env) {
				if e.names = small; c.unit {
					patients(e)
				}
			})
			for i := range 40 {
				e.put(fmt.Sprintf("large/%d", i), data(uint64(i), 10))
			}
			for i := range 12 {
				e.put(fmt.Sprintf("patients/%d/dir/%d/f", i%3, i%2), data(uint64(100+i), []int{blobSize, inlineSize}[i%2]))
			}
			e.idle()
			digests := func() []string {
				v := e.view()
				all := slices.DeleteFunc(slices.Sorted(maps.Values(e.contentsOf(v))), func(s string) bool { return s == efs.KindDir.String() })
				e.check(v.Close())
				return all
			}
			before := digests()
			n = 0
			r := e.loseIndexAnd(e.asOfNow(), c.lost)
			if r.Mended == 0 && r.RecoveredFiles == 0 || len(r.Unopened)+len(r.Gone) > 0 {
				t.Errorf("%+v", r)
			}
			e.idle()
			must(e.Fsck(ctx, FsckOptions{Repair: true})) // sorts the names of what is large
			if after := digests(); !slices.Equal(after, before) {
				t.Errorf("%d files of %d can be reached; %+v", len(after), len(before), r)
			}
			e.clean()
		})
	}
}
