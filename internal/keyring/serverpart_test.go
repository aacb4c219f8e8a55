package keyring

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

// A backup with a server part gives that back, restores as one without, and
// begins a key store; neither of its parts can be exchanged.
func TestBackupWithAServerPart(t *testing.T) {
	s := newSafe(t)
	fs := s.create(t, "clinic", oneStage).FS()
	with := func(part string) []byte {
		var out bytes.Buffer
		if _, err := s.BackupWith(&out, s.root, s.kek, s.clock.Now().Add(time.Hour), []byte(part)); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	one, other := with("secrets of one time"), with("secrets of another time")
	part, rest, err := ServerPart(bytes.NewReader(one))
	if err != nil || string(part) != "secrets of one time" {
		t.Fatalf("%q, %v", part, err)
	}
	if sealed, err := io.ReadAll(rest); err != nil || !bytes.HasPrefix(sealed, []byte("EFSseal")) || !bytes.HasSuffix(one, sealed) {
		t.Errorf("what follows is no sealed file (%v)", err)
	}
	if part, _, err := ServerPart(bytes.NewReader(s.backup(t, time.Hour))); part != nil || err != nil {
		t.Errorf("one without: %q, %v", part, err)
	}
	if _, _, err := ServerPart(bytes.NewReader(one[:20])); !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("one that is cut off: %v", err)
	}
	if done := s.restore(t, one, fs); len(done.Kept) != 1 {
		t.Errorf("restored %+v", done)
	}
	now := func() int64 { return s.clock.Now().UnixMicro() }
	unpack := func(b []byte) error {
		_, err := Unpack(filepath.Join(t.TempDir(), "keys.db"), bytes.NewReader(b), s.root, s.kek, now)
		return err
	}
	if err := unpack(one); err != nil {
		t.Error(err)
	}
	head := len(serverMagic) + 4
	exchanged := append(bytes.Clone(other[:head+len("secrets of another time")]), one[head+len("secrets of one time"):]...)
	without := one[head+len("secrets of one time"):]
	altered := bytes.Clone(one)
	altered[head] ^= 1
	for name, b := range map[string][]byte{"exchanged": exchanged, "taken away": without, "altered": altered, "cut": one[:len(one)-5]} {
		if err := unpack(b); !errors.Is(err, efs.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.clock.Advance(2 * time.Hour)
	if err := unpack(one); !errors.Is(err, efs.ErrRefused) {
		t.Errorf("one that has expired: %v", err)
	}
}
