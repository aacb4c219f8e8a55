package journal

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write a journal of the present format into testdata")

// text lists what a state is, for people and for comparing.
func (s *state) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "revision %d, change %d, link %x\n", s.head.Revision, s.head.Seq, s.head.Link)
	for _, k := range slices.Sorted(maps.Keys(s.records)) {
		r := s.records[k]
		fmt.Fprintf(&b, "space %d, %q, version %d: %x\n", k[0], r.Key, r.Version, sha256.Sum256(r.Sealed))
	}
	for _, k := range slices.Sorted(maps.Keys(s.queue)) {
		fmt.Fprintf(&b, "queued %+v\n", s.queue[k])
	}
	return b.String()
}

// A journal of every format that there was is read as it was written.
func TestFrozenJournals(t *testing.T) {
	newest := fmt.Sprintf("testdata/v%d", formatVersion)
	if *update {
		if err := os.MkdirAll(newest, 0o755); err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		s := filled(rng, 10)
		checkpointOf(t, newest, s, 2)
		logOf(t, rng, newest, s, 2, 5)
		logOf(t, rng, newest, s, 3, 5)
		write(t, filepath.Join(newest, "state.txt"), []byte(s.text()))
	}
	dirs, err := filepath.Glob("testdata/v*")
	if err != nil || !slices.Contains(dirs, newest) {
		t.Fatalf("%v %v: run with -update after a change of the format", dirs, err)
	}
	for _, dir := range dirs {
		s, rep := replayed(t, dir)
		if want := string(read(t, filepath.Join(dir, "state.txt"))); s.text() != want || !rep.Complete {
			t.Errorf("%s: %+v\n%s", dir, rep, s.text())
		}
	}
}
