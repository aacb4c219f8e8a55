package unarchive

import (
	"fmt"
	"hash/maphash"
	"os"
	"strings"

	"github.com/efs-project/efs/internal/stage"
)

// folded knows, on a file system to which capitals and small letters are the
// same, what was received: else "readme" would silently replace the "README" that
// came before it. It takes some bytes for each member.
type folded struct {
	seed  maphash.Seed
	names map[uint64]struct{}
}

// foldedIn returns nil where names that differ are different.
func foldedIn(root *os.Root) *folded {
	name := stage.TemporaryName()
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil // what comes next tells of it
	}
	_ = f.Close()
	_, err = root.Lstat(strings.ToLower(name))
	_ = root.Remove(name)
	if err != nil {
		return nil
	}
	return newFolded()
}

func newFolded() *folded { return &folded{maphash.MakeSeed(), map[uint64]struct{}{}} }

// take refuses a name that is another's.
func (f *folded) take(name string) error {
	if f == nil {
		return nil
	}
	h := maphash.String(f.seed, strings.ToLower(name))
	if _, ok := f.names[h]; ok {
		return fmt.Errorf("%q has been restored already, in other letters: the file system there takes capitals and small letters for the same", name)
	}
	f.names[h] = struct{}{}
	return nil
}
