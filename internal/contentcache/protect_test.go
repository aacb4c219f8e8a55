package contentcache

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// The kernel says of the arena that it is locked, in no core dump, and not
// given to children.
func TestProtected(t *testing.T) {
	everywhere(t, func(t *testing.T, where string) {
		c, v, _ := opened(t, where, 1<<20, 64<<10)
		r, err := v.Fill([16]byte{1}, 10_000, with(random(10_000)))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Release()
		flags, locked := mapping(t, uintptr(unsafe.Pointer(unsafe.SliceData(c.arena.mem))))
		for flag, what := range map[string]string{"lo": "locked", "dd": "left out of core dumps", "dc": "kept from children"} {
			if !slices.Contains(flags, flag) {
				t.Errorf("it is not %s: %v", what, flags)
			}
		}
		if locked < 12 { // KiB: what was filled, at least
			t.Errorf("%d KiB are locked", locked)
		}
	})
}

// mapping returns the kernel's flags of the mapping that begins at an address,
// and how many KiB of it are locked.
func mapping(t *testing.T, start uintptr) (flags []string, locked int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	inside := false
	for line := range strings.Lines(string(text)) {
		var from, to uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			inside = from <= start && start < to
		}
		if !inside {
			continue
		}
		if rest, ok := strings.CutPrefix(line, "VmFlags:"); ok {
			flags = strings.Fields(rest)
		}
		if rest, ok := strings.CutPrefix(line, "Locked:"); ok {
			_, _ = fmt.Sscanf(rest, "%d", &locked) // 0 fails the test
		}
	}
	return flags, locked
}
