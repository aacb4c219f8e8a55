package dir

import (
	"os"
	"path/filepath"
	"testing"
)

// TestPace checks that all who write together have the device sync as often as
// they have written so much, and that a failed sync fails the write.
func TestPace(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	var p pace
	for range 7 {
		if err := p.wrote(f, paceBytes/4); err != nil {
			t.Fatal(err)
		}
	}
	if p.unsent != 3*paceBytes/4 {
		t.Errorf("%d bytes are unsent after %d", p.unsent, 7*paceBytes/4)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.wrote(f, paceBytes); err == nil {
		t.Error("a failed sync was not told of")
	}
	if p.unsent != 0 {
		t.Errorf("%d bytes are unsent after a sync", p.unsent)
	}
}
