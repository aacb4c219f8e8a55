package record

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/efs-project/efs"
)

func newUnit(t testing.TB, fs efs.ID, seed byte) *Unit {
	t.Helper()
	u, err := NewUnit(fs, bytes.Repeat([]byte{seed}, 32), func() (tag [TagSize]byte, err error) {
		rand.Read(tag[:])
		return tag, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestARecordOfAUnitOpensWhereItWasSealedAndNowhereElse(t *testing.T) {
	fs := efs.NewID()
	u, key, plain := newUnit(t, fs, 1), []byte("directory and token"), []byte("an entry")
	sealed, err := u.Seal(efs.SpaceEntries, key, plain)
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed) != UnitOverhead+paddedSize(len(plain)) {
		t.Errorf("%d bytes sealed to %d", len(plain), len(sealed))
	}
	if got, err := u.Open(efs.SpaceEntries, key, sealed); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("opened %x, %v", got, err)
	}
	refused := func(what string, _ []byte, err error) {
		t.Helper()
		if !errors.Is(err, efs.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", what, err)
		}
	}
	open := func(what string, u *Unit, space efs.Space, key, sealed []byte) {
		t.Helper()
		b, err := u.Open(space, key, sealed)
		refused(what, b, err)
	}
	open("in another space", u, efs.SpaceFiles, key, sealed)
	open("under another key", u, efs.SpaceEntries, key[1:], sealed)
	open("with the key of another unit", newUnit(t, fs, 2), efs.SpaceEntries, key, sealed)
	open("in another file system", newUnit(t, efs.NewID(), 1), efs.SpaceEntries, key, sealed)
	for i := range sealed {
		altered := bytes.Clone(sealed)
		altered[i] ^= 1
		open("altered", u, efs.SpaceEntries, key, altered)
		open("cut off", u, efs.SpaceEntries, key, sealed[:i])
	}
	b, err := u.OpenChange(sealed)
	refused("as a change", b, err)
	b, err = u.OpenLabel(sealed)
	refused("as a label", b, err)
	b, err = newSealer(t, fs, 1).Open(efs.SpaceEntries, key, sealed)
	refused("as a record of the file system", b, err)
}

func TestEachRecordOfAUnitHasATagOfItsOwn(t *testing.T) {
	u := newUnit(t, efs.NewID(), 1)
	seen := map[[TagSize]byte]bool{}
	for range 100 {
		sealed, err := u.SealChange([]byte("a change"))
		if err != nil {
			t.Fatal(err)
		}
		tag, ok := UnitTag(sealed)
		if !ok || seen[tag] {
			t.Fatalf("tag %x: %t, again: %t", tag, ok, seen[tag])
		}
		seen[tag] = true
	}
	sealed, err := newSealer(t, efs.NewID(), 1).SealChange([]byte("a change"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := UnitTag(sealed); ok {
		t.Error("a record of the file system has a tag of a unit")
	}
}

func TestLabelsOpenUnderTheKeyThatSealedThem(t *testing.T) {
	fs := efs.NewID()
	s, u := newSealer(t, fs, 1), newUnit(t, fs, 1)
	a, err := s.SealLabel([]byte("patients"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := u.SealLabel([]byte("patients/173"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.OpenLabel(a); err != nil || string(got) != "patients" {
		t.Errorf("label of the file system: %q, %v", got, err)
	}
	if got, err := u.OpenLabel(b); err != nil || string(got) != "patients/173" {
		t.Errorf("label of the unit: %q, %v", got, err)
	}
	if _, err := u.OpenLabel(a); !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("the unit opens a label of the file system: %v", err)
	}
	if _, err := s.OpenLabel(b); !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("the file system opens a label of the unit: %v", err)
	}
}
