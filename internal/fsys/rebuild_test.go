package fsys

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/blob/dir"
	"github.com/efs-project/efs/internal/index/bolt"
	"github.com/efs-project/efs/internal/journal"
)

// asOfNow is what a journal would have now.
func (e *env) asOfNow() []byte {
	e.t.Helper()
	s, err := e.o.Index.Snapshot(ctx)
	e.check(err)
	defer s.Close()
	var b bytes.Buffer
	e.check(journal.WriteCheckpoint(ctx, &b, make([]byte, 32), s))
	return b.Bytes()
}

// loseIndex makes the index anew from a checkpoint, as the node does it, and
// opens the file system.
func (e *env) loseIndex(checkpoint []byte) *RebuildReport {
	e.t.Helper()
	return e.loseIndexAnd(checkpoint, nil)
}

// loseIndexAnd is loseIndex with a checkpoint that has lost records too.
func (e *env) loseIndexAnd(checkpoint []byte, lost func(space efs.Space) bool) *RebuildReport {
	e.t.Helper()
	e.close()
	sealer, err := HeadSealer(e.id, e.keys)
	e.check(err)
	fresh := e.path("index.db.rebuild")
	b, err := bolt.Build(fresh, e.id, sealer)
	e.check(err)
	rep, err := journal.ReadCheckpointTo(bytes.NewReader(checkpoint), make([]byte, 32), &journal.Visitor{Queue: b.Queue,
		Put: func(k efs.Key, version uint64, sealed []byte) error {
			if lost != nil && lost(k.Space) {
				return nil
			}
			return b.Put(k, version, sealed)
		}})
	e.check(err)
	head := rep.Head
	head.Seq, head.Revision = head.Seq+1_000_000, head.Revision+1_000_000
	e.check(b.Finish(head))
	index, err := bolt.Open(fresh, e.id, sealer, e.index)
	e.check(err)
	blobs, err := dir.Open(e.path("files"), e.files)
	e.check(err)
	o := e.options(index, blobs)
	report, err := Rebuild(ctx, o, lost != nil, nil)
	e.check(errors.Join(err, index.Close(), blobs.Close(), bolt.RemoveFiles(e.path("index.db"))))
	e.check(os.Rename(fresh, e.path("index.db")))
	e.check(bolt.RemoveFiles(fresh))
	e.check(e.tryOpen())
	return report
}

func (e *env) recovered(r *RebuildReport, want ...string) {
	e.t.Helper()
	got := slices.Sorted(slices.Values(r.Recovered))
	if !slices.Equal(got, want) || r.RecoveredFiles != int64(len(want)) || len(r.Unopened) > 0 {
		e.t.Errorf("recovered %v (%d), want %v; unopened %v", got, r.RecoveredFiles, want, r.Unopened)
	}
}

func large(seed byte) []byte { return bytes.Repeat([]byte{seed, 1, 2}, 10_000) }

func TestRebuildPutsEverythingInItsPlace(t *testing.T) {
	e := newEnv(t)
	e.put("/kept", large(1))
	e.put("/small", []byte("small"))
	e.put("/replaced", large(2))
	e.put("/patched", large(3))
	e.put("/deleted", large(4))
	e.put("/dir/old", large(5))
	e.put("/old-version", large(6))
	e.put("/old-version", large(7)) // what it replaces waits to be deleted
	before := e.asOfNow()
	typ := "text/plain"
	e.check1(e.Patch(ctx, "/patched", PatchOptions{Type: &typ}))
	e.put("/replaced", large(8))
	e.put("/new", large(9))
	e.put("/dir/deep/new", large(10))
	e.put("/new", large(11)) // twice
	_, err := e.Move(ctx, "/dir/old", "/dir/moved", MoveOptions{})
	e.check(err)
	e.check(e.Remove(ctx, "/deleted", RemoveOptions{}))
	e.idle()
	r := e.loseIndex(before)
	e.recovered(r, "/recovered/dir/deep/new", "/recovered/new", "/recovered/replaced")
	if want := []string{"/deleted", "/replaced"}; !slices.Equal(r.Gone, want) || r.Files != 7 {
		t.Errorf("gone %v, want %v; of %d files", r.Gone, want, r.Files)
	}
	e.holds("/kept", large(1))
	e.holds("/small", []byte("small"))
	e.holds("/patched", large(3))
	e.holds("/dir/old", large(5)) // moving is not known to contents
	e.holds("/old-version", large(7))
	e.holds("/recovered/new", large(11))
	e.holds("/recovered/replaced", large(8))
	e.holds("/recovered/dir/deep/new", large(10))
	e.missing("/deleted")
	e.idle()
	e.clean()
}

// What was sealed anew after the journal's end is found in the place of what is
// gone.
func TestRebuildFindsWhatWasSealedAnew(t *testing.T) {
	e := newEnv(t)
	e.put("/a", large(1))
	e.put("/b", large(2))
	e.put("/c", []byte("inline"))
	before := e.asOfNow()
	e.set(func(p *efs.Policy) { p.Stages[0].Algorithm = efs.ChaCha20Poly1305 })
	j, err := e.Reseal(ctx, ResealOptions{})
	e.check(err)
	e.ended(j)
	e.idle()
	r := e.loseIndex(before)
	e.recovered(r)
	if r.Resealed != 2 || r.GoneFiles != 0 {
		t.Errorf("%+v", r)
	}
	e.holds("/a", large(1))
	e.holds("/b", large(2))
	e.holds("/c", []byte("inline"))
	e.idle()
	e.clean()
}

// What belongs to an erasure unit stays in it, so that forgetting reaches it.
func TestRebuildKeepsErasureUnitsApart(t *testing.T) {
	e := newEnv(t, patients, signed)
	e.put("/patients/1/a", large(1))
	unit := e.unitAt("/patients/1")
	before := e.asOfNow()
	e.put("/patients/1/b", large(2))
	e.put("/patients/2/dir/c", large(3)) // a unit that the journal does not know
	two := e.unitAt("/patients/2")
	e.put("/outside", large(4))
	e.put("/patients/none", large(5))
	r := e.loseIndex(before)
	e.recovered(r, "/patients/1/recovered/b", "/patients/2/recovered/dir/c", "/recovered/outside", "/recovered/patients/none")
	if e.unitAt("/patients/1") != unit || e.unitAt("/patients/2") != two {
		t.Error("other units than before")
	}
	e.sealedFor("/patients/1/recovered/b", unit)
	e.holds("/patients/2/recovered/dir/c", large(3))
	e.idle()
	e.clean()
	e.forgetIt("/patients/2")
	e.missing("/patients/2/recovered/dir/c")
	e.idle()
	e.holds("/patients/1/recovered/b", large(2))
	e.clean()
}

// A pattern that would make /recovered a unit.
func TestRebuildFindsAPlaceUnderAnyPattern(t *testing.T) {
	e := newEnv(t, func(e *env) { e.policy.ErasureUnit = "/*" })
	e.put("/one/a", large(1))
	before := e.asOfNow()
	e.put("/top", large(2))
	e.put("/one/b", large(3))
	r := e.loseIndex(before)
	if r.RecoveredFiles != 2 || len(r.Unopened) > 0 {
		t.Fatalf("%+v", r)
	}
	e.holds("/one/recovered/b", large(3))
	for _, path := range r.Recovered {
		if path != "/one/recovered/b" {
			e.holds(path, large(2))
		}
	}
	e.idle()
	e.clean()
}

// Quotas come back with what is in use, and what is found again is stored over
// them.
func TestRebuildCountsWhatIsInUse(t *testing.T) {
	e := newEnv(t)
	e.check(e.putAs("ann", "/a", large(1)))
	e.quota("ann", 40_000, 0)
	e.counted()
	before := e.asOfNow()
	e.check(e.Remove(ctx, "/a", RemoveOptions{}))
	e.check(e.putAs("ann", "/b", large(2)))
	e.check(e.Remove(ctx, "/b", RemoveOptions{}))
	e.check(e.putAs("ann", "/c", large(3)))
	r := e.loseIndex(before)
	if r.RecoveredFiles == 0 {
		t.Errorf("%+v", r)
	}
	e.holds("/recovered/c", large(3))
	if err := e.putAs("ann", "/more", large(4)); !errors.Is(err, efs.ErrQuota) {
		t.Errorf("more than the quota: %v", err)
	}
	e.idle()
	e.clean()
}
