package mirror

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs/internal/transfer"
)

// What takes the place of a watched directory, as a new release takes that of
// the old one, is followed in its stead: neither is anything of the old one stored
// under names of the new one.
func TestADirectoryThatTakesTheWatchedOnesPlaceIsFollowed(t *testing.T) {
	in, p := filepath.Join(t.TempDir(), "in"), drive(t)
	next := in + ".next"
	write(t, filepath.Join(in, "same"), "old")
	write(t, filepath.Join(in, "gone"), "old")
	write(t, filepath.Join(next, "same"), "the new one")
	write(t, filepath.Join(next, "more"), "the new one")
	defer watching(t, Options{From: transfer.Place{Path: in}, To: p, Delete: true})()
	has := func(name, want string) func() string {
		return func() string {
			b, err := p.Client.ReadFile(t.Context(), p.Path+"/"+name)
			if err != nil {
				return err.Error()
			}
			if string(b) != want {
				return name + " is " + string(b)
			}
			return ""
		}
	}
	comesTrue(t, has("gone", "old"))
	if err := errors.Join(os.Rename(in, in+".old"), os.Rename(next, in)); err != nil {
		t.Fatal(err)
	}
	comesTrue(t, has("more", "the new one"))
	comesTrue(t, has("same", "the new one"))
	write(t, filepath.Join(in, "later"), "still followed")
	comesTrue(t, has("later", "still followed"))
	if b, err := p.Client.ReadFile(t.Context(), p.Path+"/gone"); err == nil {
		t.Errorf("what the new one does not have is still there: %q", b)
	}
}
