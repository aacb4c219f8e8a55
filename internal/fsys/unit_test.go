package fsys

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/record"
)

// patients makes every directory in /patients an erasure unit.
func patients(e *env) { e.policy.ErasureUnit = "/patients/*" }

// unitAt returns the unit that what is at path belongs to, zero for none.
func (e *env) unitAt(path string) efs.ID {
	e.t.Helper()
	segs, err := ParsePath(path)
	e.check(err)
	u, err := e.unitOfPath(ctx, segs)
	e.check(err)
	return u.id()
}

// destroy destroys the key of the unit at path, and nothing else.
func (e *env) destroy(path string) {
	e.t.Helper()
	e.check(e.keys.DestroyUnits(ctx, e.unitAt(path)))
}

// sealedFor checks that the record of what is at path, and its contents, are
// sealed for the unit.
func (e *env) sealedFor(path string, unit efs.ID) {
	e.t.Helper()
	recs, err := e.o.Index.Get(ctx, e.entryAt(path))
	e.check(err)
	u, err := e.unitOfRecord(recs[0].Sealed)
	e.check(err)
	if u.id() != unit {
		e.t.Errorf("the entry of %s is sealed for unit %s, want %s", path, u.id(), unit)
	}
	entry := must(e.Stat(ctx, path))
	for _, x := range entry.Extents {
		if (x.Epoch == 0) != !unit.IsZero() {
			e.t.Errorf("the content of %s is sealed with epoch %d", path, x.Epoch)
		}
	}
}

func TestEachPatientHasAKeyOfItsOwn(t *testing.T) {
	e := newEnv(t, patients)
	e.put("patients/1/labs/small", data(1, inlineSize))
	e.put("patients/1/large", data(2, blobSize))
	e.check1(e.Mkdir(ctx, "patients/2", MkdirOptions{}))
	e.put("patients/2/large", data(3, blobSize))
	e.put("patients/index", data(4, inlineSize))
	e.put("staff/1/large", data(5, blobSize))
	one, two := e.unitAt("patients/1"), e.unitAt("patients/2")
	if one.IsZero() || two.IsZero() || one == two {
		t.Fatalf("units %s and %s", one, two)
	}
	for path, unit := range map[string]efs.ID{
		"patients": {}, "patients/1": one, "patients/1/labs": one, "patients/1/labs/small": one, "patients/1/large": one,
		"patients/2": two, "patients/2/large": two, "patients/index": {}, "staff/1": {}, "staff/1/large": {},
	} {
		e.sealedFor(path, unit)
	}
	e.reopen()
	e.holds("patients/1/labs/small", data(1, inlineSize))
	e.holds("patients/1/large", data(2, blobSize))
	e.clean()

	e.idle()
	e.destroy("patients/1")
	for _, path := range []string{"patients/1", "patients/1/labs", "patients/1/labs/small", "patients/1/large"} {
		e.missing(path)
	}
	page, _, err := e.List(ctx, "patients", ListOptions{Recursive: true})
	e.check(err)
	for _, l := range page {
		if strings.HasPrefix(l.Path, "1") {
			t.Errorf("%s is listed", l.Path)
		}
	}
	if len(page) != 3 {
		t.Errorf("%d entries are listed, want 2, 2/large and index", len(page))
	}
	e.holds("patients/2/large", data(3, blobSize))
	e.holds("patients/index", data(4, inlineSize))
	changes, err := e.Changes(ctx, 0, 1000)
	e.check(err)
	forgotten := 0
	for _, c := range changes {
		if c.Op == efs.OpForgotten {
			forgotten++
		}
		if strings.HasPrefix(c.Path, "patients/1") {
			t.Errorf("change %d tells of %s", c.Seq, c.Path)
		}
	}
	if forgotten != 4 { // patients/1, labs, labs/small, large
		t.Errorf("%d changes are forgotten, want 4", forgotten)
	}
	e.put("patients/1/new", data(6, blobSize)) // somebody of the same name
	e.holds("patients/1/new", data(6, blobSize))
}

func (e *env) check1(_ efs.Entry, err error) { e.t.Helper(); e.check(err) }

func TestNamesInAUnitHaveTokensOfIt(t *testing.T) {
	e := newEnv(t, patients)
	e.put("patients/1/f", nil)
	e.put("staff/1/f", nil)
	token := func(path string) (guess, real record.Token) {
		key := e.entryAt(path)
		k := entryKey(key.Bytes)
		return e.FS.names.Entry(k.dir(), "f"), record.Token(key.Bytes[16:])
	}
	if guess, real := token("staff/1/f"); guess != real {
		t.Error("the key of a name outside of units is not what the file system's name key makes")
	}
	if guess, real := token("patients/1/f"); guess == real {
		t.Error("the name key of the file system is enough to guess names in a unit")
	}
}

func TestFilesMoveAcrossTheBordersOfUnits(t *testing.T) {
	for _, size := range []int{0, inlineSize, blobSize} {
		e := newEnv(t, patients)
		want := data(1, size)
		e.put("patients/1/f", want)
		e.put("patients/2/x", nil)
		before := must(e.Stat(ctx, "patients/1/f"))
		one, two := e.unitAt("patients/1"), e.unitAt("patients/2")
		from := "patients/1/f"
		for _, m := range []struct {
			to   string
			unit func() efs.ID
		}{
			{"patients/1/g", func() efs.ID { return one }},
			{"patients/2/f", func() efs.ID { return two }},
			{"inbox/f", func() efs.ID { return efs.ID{} }},
			{"patients/3/dir/f", func() efs.ID { return e.unitAt("patients/3") }},
			{"patients/2/f", func() efs.ID { return two }},
		} {
			_, err := e.Move(ctx, from, m.to, MoveOptions{})
			e.check(err)
			e.missing(from)
			e.holds(m.to, want)
			e.sealedFor(m.to, m.unit())
			from = m.to
		}
		after := must(e.Stat(ctx, from))
		if after.File != before.File || after.ETag != before.ETag || after.Version != before.Version {
			t.Errorf("moved, %s version %d became %s version %d", before.ETag, before.Version, after.ETag, after.Version)
		}
		e.idle()
		e.reopen()
		e.clean()
		if blobs := e.blobs(); len(blobs) > 1 {
			t.Errorf("%d blobs are left", len(blobs))
		}
		e.destroy("patients/1")
		e.destroy("patients/3")
		e.holds("patients/2/f", want)
	}
}

func TestDirectoriesStayInTheirUnits(t *testing.T) {
	e := newEnv(t, patients)
	e.put("patients/1/labs/f", data(1, blobSize))
	e.put("patients/2/f", nil)
	e.put("inbox/d/f", nil)
	one := e.unitAt("patients/1")
	for _, m := range [][2]string{
		{"patients/1/labs", "patients/2/labs"}, // between units
		{"patients/1/labs", "labs"},            // out of one
		{"inbox/d", "patients/2/d"},            // into one
		{"inbox/d", "patients/9/d"},            // into one that would be made
		{"inbox/d", "patients/9"},              // would become one
		{"patients/1", "patients/2/1"},         // a unit in a unit
	} {
		_, err := e.Move(ctx, m[0], m[1], MoveOptions{})
		e.refused(m[0]+" to "+m[1], err, efs.ErrUnitBorder)
		e.missing(m[1])
	}
	for _, m := range [][2]string{
		{"patients/1/labs", "patients/1/old/labs"},
		{"patients/1", "patients/one"},
		{"patients/one", "archive/one"},
		{"archive/one", "patients/1"},
	} {
		_, err := e.Move(ctx, m[0], m[1], MoveOptions{})
		e.check(err)
	}
	if e.unitAt("patients/1") != one {
		t.Error("renamed, the directory is another unit")
	}
	e.holds("patients/1/old/labs/f", data(1, blobSize))
	e.sealedFor("patients/1/old/labs/f", one)
	e.clean()
	e.destroy("patients/1")
	e.missing("patients/1/old/labs/f")
	changes, err := e.Changes(ctx, 0, 1000)
	e.check(err)
	for _, c := range changes {
		if strings.Contains(c.Path+c.From, "/one") {
			t.Errorf("change %d tells of %s from %s", c.Seq, c.Path, c.From)
		}
	}
}

func TestCopiesAreSealedForWhereTheyAre(t *testing.T) {
	e := newEnv(t, patients)
	e.put("patients/1/labs/f", data(1, blobSize))
	_, err := e.Copy(ctx, "patients/1", "patients/2", CopyOptions{})
	e.check(err)
	_, err = e.Copy(ctx, "patients/1/labs", "labs", CopyOptions{})
	e.check(err)
	e.sealedFor("patients/2/labs/f", e.unitAt("patients/2"))
	e.sealedFor("labs/f", efs.ID{})
	e.destroy("patients/1")
	e.holds("patients/2/labs/f", data(1, blobSize))
	e.holds("labs/f", data(1, blobSize))
}

func TestWhatIsChangedStaysInItsUnit(t *testing.T) {
	e := newEnv(t, patients)
	e.put("patients/1/f", data(1, inlineSize))
	one := e.unitAt("patients/1")
	e.put("patients/1/f", data(2, blobSize))
	mode := uint32(0o600)
	for _, path := range []string{"patients/1", "patients/1/f"} {
		_, err := e.Patch(ctx, path, PatchOptions{Mode: &mode})
		e.check(err)
		e.sealedFor(path, one)
	}
	e.holds("patients/1/f", data(2, blobSize))
	e.check(e.Remove(ctx, "patients/1", RemoveOptions{Recursive: true}))
	e.idle()
	if n := len(e.blobs()); n != 0 {
		t.Errorf("%d blobs are left", n)
	}
	e.clean()
}

func TestAFailedStoreLeavesNoKey(t *testing.T) {
	e := newEnv(t, patients)
	_, err := e.Put(ctx, "patients/1/f", bytes.NewReader(data(1, inlineSize)), PutOptions{Size: -1, SHA256: digest(nil)})
	e.refused("another digest", err, efs.ErrDigest)
	_, err = e.Put(ctx, "patients/1/f", bytes.NewReader(data(1, blobSize)), PutOptions{Size: -1, SHA256: digest(nil)})
	e.refused("another digest", err, efs.ErrDigest)
	units, err := e.keys.Units()
	e.check(err)
	for _, u := range units {
		if u.Destroyed.IsZero() {
			t.Errorf("the key of unit %s is left", u.ID)
		}
	}
}

func TestNamesOfUnitsAreNotSortedTogether(t *testing.T) {
	e := newEnv(t, patients, func(e *env) {
		e.names = namesLimits{large: 8, flush: 4, fanIn: 2, block: 512, chunk: 64}
	})
	for i := range 40 {
		e.check1(e.Mkdir(ctx, "patients/"+string(rune('A'+i)), MkdirOptions{Parents: true}))
		e.put("patients/A/"+string(rune('A'+i)), nil)
		e.put("staff/"+string(rune('A'+i)), nil)
	}
	for _, dir := range []string{"patients", "patients/A", "staff"} {
		id := must(e.Stat(ctx, dir)).File
		e.check(e.mergeNames(ctx, id))
		page, _, err := e.List(ctx, dir, ListOptions{})
		e.check(err)
		if len(page) != 40 || page[0].Path != "A" || page[39].Path != string(rune('A'+39)) {
			t.Errorf("%s lists %d entries", dir, len(page))
		}
		root, _, err := e.namesRoot(ctx, id)
		e.check(err)
		if large := root != nil; large != (dir != "patients") {
			t.Errorf("%s keeps sorted names: %t", dir, large)
		}
		if dir == "patients/A" {
			e.check(e.scan(ctx, efs.SpaceNames, id[:], scanPage, func(r *efs.Record) error {
				if _, ok := record.UnitTag(r.Sealed); !ok {
					t.Error("sorted names of a unit are not sealed for it")
				}
				return nil
			}))
		}
	}
	e.clean()
}

func TestADirectoryThatWasLargeGivesUpItsNamesForAUnit(t *testing.T) {
	e := newEnv(t, patients, func(e *env) {
		e.names = namesLimits{large: 8, flush: 4, fanIn: 2, block: 512, chunk: 64}
	})
	for i := range 40 {
		e.put("patients/"+string(rune('A'+i)), nil)
	}
	id := must(e.Stat(ctx, "patients")).File
	e.check(e.mergeNames(ctx, id))
	e.put("patients/a-name/f", nil)
	if n := e.records(efs.SpaceNames); n != 0 {
		t.Errorf("%d records of names are left", n)
	}
	page, _, err := e.List(ctx, "patients", ListOptions{})
	e.check(err)
	if len(page) != 41 {
		t.Errorf("%d entries are listed", len(page))
	}
	e.clean()
}

func TestLabelsAreForgottenWithTheirUnit(t *testing.T) {
	e := newEnv(t, patients)
	e.put("patients/1/f", nil)
	want := map[string]string{
		"patients/1": "patients/1", "patients/1/f": "patients/1/f", "patients/1/no/such": "patients/1/no/such", "patients/1/f/x": "patients/1/f/x",
		"staff/f": "staff/f", "": "", "patients": "patients", "patients/2/f": "patients/…",
	}
	sealed := map[string][]byte{}
	for path, label := range want {
		b, err := e.SealLabel(ctx, path)
		e.check(err)
		if got, err := e.OpenLabel(ctx, b); err != nil || got != label {
			t.Errorf("label of %q: %q, %v", path, got, err)
		}
		sealed[path] = b
	}
	e.destroy("patients/1")
	for path, b := range sealed {
		_, err := e.OpenLabel(ctx, b)
		if in := strings.HasPrefix(path, "patients/1"); in != errors.Is(err, efs.ErrForgotten) || !in && err != nil {
			t.Errorf("label of %q, after patient 1 was forgotten: %v", path, err)
		}
	}
}

func TestAKeyWhoseUnitWasNeverMadeIsDestroyedAtStart(t *testing.T) {
	e := newEnv(t, patients)
	e.put("patients/1/f", nil)
	orphan := must(e.keys.CreateUnit(ctx)) // killed before the directory's transaction
	used := e.unitAt("patients/1")
	gone := func(id efs.ID) bool { _, err := e.keys.Unit(id); return errors.Is(err, efs.ErrForgotten) }
	e.reopen()
	for end := time.Now().Add(20 * time.Second); !gone(orphan) && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	if !gone(orphan) || gone(used) {
		t.Errorf("destroyed: the orphan %t, the one in use %t", gone(orphan), gone(used))
	}
	e.holds("patients/1/f", nil)
}

func TestAnIndexFromThePastCostsNoKey(t *testing.T) {
	e := newEnv(t, patients)
	e.put("patients/1/f", nil)
	e.close()
	backup := t.TempDir()
	copyTree(t, e.path("index.db"), filepath.Join(backup, "index.db"))
	e.check(e.tryOpen())
	e.put("patients/2/f", nil)
	two := e.unitAt("patients/2")
	e.close()
	copyTree(t, filepath.Join(backup, "index.db"), e.path("index.db"))
	e.check(e.tryOpen(func(o *Options) { o.AcceptRollback = true }))
	for range 2 {
		for end := time.Now().Add(20 * time.Second); e.swept() == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		}
		e.reopen()
	}
	if _, err := e.keys.Unit(two); err != nil {
		t.Errorf("the key of a unit that a newer index has: %v", err)
	}
}

// swept is the time of the last comparison of keys with records.
func (e *env) swept() int64 {
	recs, err := e.o.Index.Get(ctx, efs.Key{Space: efs.SpaceMeta, Bytes: []byte{metaSwept}})
	e.check(err)
	var s swept
	if recs[0].Version != 0 {
		e.check(e.open(efs.SpaceMeta, []byte{metaSwept}, recs[0].Sealed, &s))
	}
	return s.Until
}
