package keyring

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

func newUnit(t *testing.T, k *Keys) *Unit {
	t.Helper()
	id, err := k.CreateUnit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u, err := k.Unit(id)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// wrapFor wraps a file key for recipients, one per stage.
func wrapFor(t *testing.T, fs efs.ID, recipients []seal.Recipient) slots {
	s := slots{ctx: seal.Context{FS: fs, Content: efs.NewID(), Suite: seal.AES256GCM}, key: bytes.Repeat([]byte{9}, 32)}
	for i, r := range recipients {
		s.ctx.Stage = i
		slot, err := r.Wrap(s.key, s.ctx)
		if err != nil {
			t.Error(err)
			return s
		}
		s.slots = append(s.slots, slot)
	}
	return s
}

func wrapUnit(t *testing.T, u *Unit) slots {
	r, err := u.Recipients()
	if err != nil {
		t.Error(err)
	}
	return wrapFor(t, u.keys.FS(), r)
}

func unitRoot(t *testing.T, u *Unit) []byte {
	t.Helper()
	b, err := u.Root("names")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func shares(t *testing.T, u *Unit) [][]byte {
	t.Helper()
	rec, err := u.keys.unitRecord(numberOf(u.id))
	if err != nil {
		t.Fatal(err)
	}
	return rec.Shares
}

func TestUnitKeysSurviveReopening(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", twoStages)
	u, other := newUnit(t, k), newUnit(t, k)
	files, names := wrapUnit(t, u), unitRoot(t, u)
	if len(files.slots) != 2 || bytes.Equal(unitRoot(t, other), names) {
		t.Fatalf("%d slots", len(files.slots))
	}
	b.reopen(t)
	k = b.keys(t, k.FS())
	if err := files.open(k); err != nil {
		t.Error(err)
	}
	again, err := k.Unit(u.ID())
	if err != nil || !bytes.Equal(unitRoot(t, again), names) {
		t.Errorf("another key (%v)", err)
	}
	if _, err := k.Unit(efs.NewID()); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("a unit that never was: %v", err)
	}
	if all, err := k.Units(); err != nil || len(all) != 2 || !all[0].Destroyed.IsZero() {
		t.Errorf("units: %v, %v", all, err)
	}
}

// An observer sees no two things go together by their tags; the keyring does.
func TestTagsLeadToTheUnitAndTellNothing(t *testing.T) {
	b := newBench(t, Options{})
	k, foreign := b.create(t, "fx", oneStage), b.create(t, "fy", oneStage)
	u := newUnit(t, k)
	seen := map[[16]byte]bool{}
	for range 100 {
		tag, err := u.Tag()
		if err != nil || seen[tag] {
			t.Fatalf("tag %x again, or %v", tag, err)
		}
		seen[tag] = true
		if got, err := k.UnitByTag(tag); err != nil || got.ID() != u.ID() {
			t.Fatalf("leads to %v, %v", got, err)
		}
		if _, err := foreign.UnitByTag(tag); !errors.Is(err, efs.ErrNotFound) {
			t.Fatalf("in another file system: %v", err)
		}
		slot := [16]byte(wrapUnit(t, u).slots[0].Key)
		if seen[slot] {
			t.Fatal("a slot's id came again")
		}
		seen[slot] = true
		if _, err := k.UnitByTag(slot); !errors.Is(err, efs.ErrNotFound) {
			t.Fatalf("a slot's id: %v", err)
		}
	}
}

func TestDestroyedUnitIsForgotten(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", twoStages)
	u, kept := newUnit(t, k), newUnit(t, k)
	files, others, old := wrapUnit(t, u), wrapUnit(t, kept), shares(t, u)
	tag, err := u.Tag()
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, "with one that never was", k.DestroyUnits(t.Context(), u.ID(), efs.NewID()), efs.ErrNotFound)
	if err := files.open(k); err != nil {
		t.Fatalf("a refused destruction destroyed: %v", err)
	}
	recipients, err := u.Recipients()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := k.DestroyUnits(t.Context(), u.ID()); err != nil {
			t.Fatal(err)
		}
	}
	checkAbsent(t, filepath.Dir(b.path), old)
	for range 2 {
		_, err := k.Unit(u.ID())
		wantError(t, "the unit", err, efs.ErrForgotten)
		_, err = k.UnitByTag(tag)
		wantError(t, "its tag", err, efs.ErrForgotten)
		wantError(t, "a content of it", files.open(k), efs.ErrForgotten)
		if err := others.open(k); err != nil {
			t.Errorf("another unit: %v", err)
		}
		all, err := k.Units()
		if err != nil || len(all) != 2 || all[0].Destroyed.IsZero() == all[1].Destroyed.IsZero() {
			t.Errorf("units: %+v, %v", all, err)
		}
		b.reopen(t)
		k = b.keys(t, k.FS())
	}
	// Who held the unit when it was destroyed has nothing in hand.
	wantError(t, "its handle", u.Live(), efs.ErrForgotten)
	_, err = u.Root("names")
	wantError(t, "its root", err, efs.ErrForgotten)
	_, err = recipients[0].Wrap(files.key, files.ctx)
	wantError(t, "its recipient", err, efs.ErrForgotten)
}

// Unit keys end with the KMS of any stage, like those of epochs.
func TestUnitsNeedEveryKMS(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", twoStages)
	u := newUnit(t, k)
	files := wrapUnit(t, u)
	for _, kms := range []*fakeKMS{b.one, b.two} {
		kms.answer(efs.ErrRefused)
		b.Invalidate(kms.name, "default")
		wantError(t, "reading", files.open(k), efs.ErrRefused)
		wantError(t, "live", u.Live(), efs.ErrRefused)
		kms.answer(nil)
		b.clock.Advance(retryAfter)
		if err := errors.Join(u.Live(), files.open(k)); err != nil {
			t.Error(err)
		}
	}
}

func TestUnitKeysMoveToTheNewestEpoch(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	var units []*Unit
	for range 5 {
		units = append(units, newUnit(t, k))
	}
	files, names, old := wrapUnit(t, units[0]), unitRoot(t, units[0]), shares(t, units[0])
	if err := k.DestroyUnits(t.Context(), units[4].ID()); err != nil {
		t.Fatal(err)
	}
	check := func(what string, stages int) {
		t.Helper()
		if err := files.open(k); err != nil || !bytes.Equal(unitRoot(t, units[0]), names) {
			t.Errorf("%s: %v", what, err)
		}
		if n := len(shares(t, units[0])); n != stages {
			t.Errorf("%s: %d shares", what, n)
		}
		wantError(t, what, units[4].Live(), efs.ErrForgotten)
	}
	rotate(t, k)
	if err := k.Retire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	check("after retiring", 1)
	if err := k.DestroyEpoch(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	check("after destroying the epoch", 1)
	checkAbsent(t, filepath.Dir(b.path), old)
	if _, err := k.Restage(t.Context(), twoStages); err != nil {
		t.Fatal(err)
	}
	check("under two stages", 2)
	b.two.answer(efs.ErrRefused)
	b.Invalidate("two", "default")
	wantError(t, "without the second stage", units[0].Live(), efs.ErrRefused)
	b.two.answer(nil)
	b.reopen(t)
	k = b.keys(t, k.FS())
	for i, u := range units {
		units[i] = &Unit{k, u.id}
	}
	check("reopened", 2)
}

// A share moved to another unit, or changed, gives no key.
func TestSwappedUnitShares(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	x, y := newUnit(t, k), newUnit(t, k)
	donor := shares(t, y)
	rec := *mustRecord(t, x)
	rec.Shares = donor
	if err := b.store.update(rec.put); err != nil {
		t.Fatal(err)
	}
	b.reopen(t)
	k = b.keys(t, k.FS())
	wantError(t, "with another's share", (&Unit{k, x.id}).Live(), efs.ErrDamaged)
	if err := (&Unit{k, y.id}).Live(); err != nil {
		t.Error(err)
	}
}

func mustRecord(t *testing.T, u *Unit) *unitRecord {
	t.Helper()
	rec, err := u.keys.unitRecord(numberOf(u.id))
	if err != nil || rec == nil {
		t.Fatal(err)
	}
	return rec
}

func TestDropTakesUnitsAlong(t *testing.T) {
	b := newBench(t, Options{})
	k := b.create(t, "user-data", oneStage)
	u := newUnit(t, k)
	files, old := wrapUnit(t, u), shares(t, u)
	if err := b.Drop(t.Context(), k.FS()); err != nil {
		t.Fatal(err)
	}
	checkAbsent(t, filepath.Dir(b.path), old)
	if err := files.open(k); err == nil {
		t.Error("a content of the dropped file system opens")
	}
}

// A unit that nothing was kept under goes without a trace, and its bytes with
// the next one that is destroyed, or at the next start.
func TestAnAbandonedUnitLeavesNothing(t *testing.T) {
	for _, restart := range []bool{false, true} {
		b := newBench(t, Options{})
		k := b.create(t, "user-data", oneStage)
		u, stays, goes := newUnit(t, k), newUnit(t, k), newUnit(t, k)
		content, old := wrapUnit(t, stays), shares(t, u)
		if err := k.AbandonUnit(t.Context(), u.ID()); err != nil {
			t.Fatal(err)
		}
		_, err := k.Unit(u.ID())
		wantError(t, "the abandoned unit", err, efs.ErrNotFound)
		wantError(t, "abandoning it again", k.AbandonUnit(t.Context(), u.ID()), efs.ErrNotFound)
		if all, err := k.Units(); err != nil || len(all) != 2 {
			t.Errorf("%d units are known, %v", len(all), err)
		}
		if restart {
			b.reopen(t)
			k = b.keys(t, k.FS())
		} else if err := k.DestroyUnits(t.Context(), goes.ID()); err != nil {
			t.Fatal(err)
		}
		checkAbsent(t, filepath.Dir(b.path), old)
		if err := content.open(k); err != nil {
			t.Error(err)
		}
		wantError(t, "abandoning a destroyed one", k.AbandonUnit(t.Context(), u.ID()), efs.ErrNotFound)
	}
}
