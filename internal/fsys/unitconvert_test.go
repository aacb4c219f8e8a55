package fsys

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

// converts sets the pattern and waits until it holds.
func (e *env) converts(pattern string) {
	e.t.Helper()
	p := e.Policy()
	p.ErasureUnit = pattern
	_, err := e.SetPolicy(ctx, Who{}, p)
	e.check(err)
	e.holdsPattern()
}

func (e *env) holdsPattern() {
	e.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		recs, err := e.o.Index.Get(ctx, efs.Key{Space: efs.SpaceMeta, Bytes: convertedKey()})
		e.check(err)
		if recs[0].Version != 0 {
			return
		}
	}
	e.t.Fatalf("the directories do not become units: %+v", e.Jobs())
}

// filled puts a tree in place, part of which is about patients.
func (e *env) filled() map[string][]byte {
	e.t.Helper()
	files := map[string][]byte{}
	for i := range 3 {
		for j, size := range []int{0, inlineSize, blobSize} {
			for _, path := range []string{"patients/%d/f%d", "patients/%d/labs/old/f%d", "staff/%d/f%d"} {
				path = fmt.Sprintf(path, i, j)
				files[path] = data(uint64(len(files)), size)
				e.put(path, files[path])
			}
		}
	}
	return files
}

func TestDirectoriesThatAreThereBecomeUnits(t *testing.T) {
	e := newEnv(t, signed, func(e *env) {
		e.names = namesLimits{large: 8, flush: 4, fanIn: 2, block: 512, chunk: 64}
	})
	files := e.filled()
	for i := range 20 {
		e.put(fmt.Sprintf("patients/0/many/%d", i), nil)
	}
	many := must(e.Stat(ctx, "patients/0/many")).File
	e.check(e.mergeNames(ctx, many))
	before := must(e.Stat(ctx, "patients/0/f2"))
	e.converts("/patients/*")
	units := map[efs.ID]bool{}
	for path, want := range files {
		e.holds(path, want)
		unit := e.unitAt(path)
		e.sealedFor(path, unit)
		if in := path[0] == 'p'; in == unit.IsZero() {
			t.Errorf("%s is in unit %s", path, unit)
		}
		units[unit] = true
	}
	if len(units) != 4 {
		t.Errorf("%d units, want three and none", len(units))
	}
	after := must(e.Stat(ctx, "patients/0/f2"))
	if after.ETag != before.ETag || after.Version != before.Version || after.File != before.File {
		t.Error("sealing a file for its unit made another version of it")
	}
	e.idle()
	e.clean()
	for _, j := range e.Jobs() {
		if j.Kind != JobConvert || j.State != JobDone || j.Files == 0 {
			t.Errorf("job %+v", j)
		}
	}
	// Nothing of it opens with the keys of the file system.
	e.forgetIt("patients/0")
	changes, err := e.Changes(ctx, logStart(e)-1, 1000)
	e.check(err)
	for _, c := range changes {
		if bytes.Contains([]byte(c.Path), []byte("patients/0")) {
			t.Errorf("change %d tells of %s", c.Seq, c.Path)
		}
	}
	e.reopen()
	e.missing("patients/0/labs/old/f2")
	e.holds("patients/1/labs/old/f2", files["patients/1/labs/old/f2"])
	e.clean()
}

// logStart is the first change in the log.
func logStart(e *env) uint64 {
	first, _, err := e.o.Index.LogBounds(ctx)
	e.check(err)
	return first
}

func TestMakingUnitsGoesOnAfterACrash(t *testing.T) {
	e := newEnv(t, signed)
	files := e.filled()
	// As if killed when the first directory had become a unit and one file in it.
	p := e.Policy()
	p.ErasureUnit = "/patients/*"
	e.policy.ErasureUnit = p.ErasureUnit
	s, err := e.locate(ctx, []string{"patients", "1"})
	e.check(err)
	tx := e.begin(Who{})
	p.Version++
	tx.put(efs.SpaceMeta, policyKey(p.Version), policyRecord{Policy: p})
	_, err = tx.commit(ctx)
	e.check(err)
	m := &unitMaker{fs: e.FS}
	u, err := e.makeUnit(ctx, m, s.key, s.segs)
	e.check(err)
	m.end(ctx)
	e.reopen()
	e.holdsPattern()
	if e.unitAt("patients/1") != u.id() {
		t.Error("the directory became another unit")
	}
	for path, want := range files {
		e.holds(path, want)
		e.sealedFor(path, e.unitAt(path))
	}
	e.clean()
	if rec, _, err := e.unitRecord(ctx, u); err != nil || rec.Converting {
		t.Errorf("the unit's record is %+v, %v", rec, err)
	}
}

func TestAUnitThatIsBeingMadeIsForgottenWhole(t *testing.T) {
	e := newEnv(t, signed)
	e.filled()
	s, err := e.locate(ctx, []string{"patients", "1"})
	e.check(err)
	m := &unitMaker{fs: e.FS}
	u, err := e.makeUnit(ctx, m, s.key, s.segs)
	e.check(err)
	m.end(ctx)
	mode := uint32(0o600) // written anew, with contents that are not
	_, err = e.Patch(ctx, "patients/1/f2", PatchOptions{Mode: &mode})
	e.check(err)
	if need, err := e.ofEpoch(ctx, &must(e.Stat(ctx, "patients/1/f2")).Extents[0]); err != nil || !need {
		t.Fatalf("the content is sealed for the unit already: %v", err)
	}
	r := e.forgetIt("patients/1")
	if len(r.Units) != 1 || r.Units[0] != u.id() || r.Files != 6 || r.Outside != 0 {
		t.Errorf("the receipt says %+v", r)
	}
	e.clean()
}

func TestWhatIsMovedBelowThePatternBecomesUnits(t *testing.T) {
	e := newEnv(t, patients, signed)
	e.put("old/1/f", data(1, blobSize))
	_, err := e.Move(ctx, "old", "patients", MoveOptions{})
	e.check(err)
	e.holdsPattern()
	if e.unitAt("patients/1").IsZero() {
		t.Error("the directory did not become a unit")
	}
	e.sealedFor("patients/1/f", e.unitAt("patients/1"))
	e.holds("patients/1/f", data(1, blobSize))
	e.clean()
}

func TestUnitsAreMadeBesideReadersAndWriters(t *testing.T) {
	e := newEnv(t, signed)
	files := e.filled()
	stop := make(chan struct{})
	ended := make(chan error, 4)
	for i := range cap(ended) {
		go func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					ended <- nil
					return
				default:
				}
				path := fmt.Sprintf("patients/%d/w%d/f%d", n%3, i, n%4)
				want := data(uint64(n), []int{inlineSize, blobSize}[n%2])
				if _, err := e.Put(ctx, path, bytes.NewReader(want), PutOptions{Size: -1}); err != nil {
					ended <- err
					return
				}
				if got, err := e.read(path); err != nil || !bytes.Equal(got, want) {
					ended <- errors.Join(err, fmt.Errorf("%s holds %d bytes", path, len(got)))
					return
				}
				if n%5 == 4 {
					if _, err := e.Move(ctx, path, fmt.Sprintf("patients/%d/w%d/m%d", (n+n/5)%3, i, n%4), MoveOptions{Overwrite: true}); err != nil {
						ended <- err
						return
					}
				}
			}
		}()
	}
	e.converts("/patients/*")
	close(stop)
	for range cap(ended) {
		e.check(<-ended)
	}
	for path, want := range files {
		e.holds(path, want)
	}
	page, _, err := e.List(ctx, "patients", ListOptions{Recursive: true})
	e.check(err)
	for _, l := range page {
		e.sealedFor("patients/"+l.Path, e.unitAt("patients/"+l.Path))
	}
	e.idle()
	e.clean()
}
