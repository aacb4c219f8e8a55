package salvage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/journal"
)

// That there is no room for what a journal tells is said, and is not taken for
// something that the journal lacks.
func TestNoRoomIsNoDamage(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	_, _, err := replay(none, func(func(efs.Key, []byte) error, func(efs.Key) error) (journal.Report, error) {
		t.Error("it was read all the same")
		return journal.Report{}, nil
	})
	if !errors.Is(err, errScratch) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the directory: %v", err)
	}
	_, _, err = replay("", func(put func(efs.Key, []byte) error, _ func(efs.Key) error) (journal.Report, error) {
		if put(efs.Key{Space: efs.SpaceEntries}, []byte("a record without a key")) == nil {
			t.Error("it was kept")
		}
		return journal.Report{}, nil // as a reader that passes over it would
	})
	if !errors.Is(err, errScratch) {
		t.Errorf("what could not be kept: %v", err)
	}
}
