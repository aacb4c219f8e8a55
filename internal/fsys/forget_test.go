package fsys

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/receipt"
)

// signed gives the file system a key for receipts.
func signed(e *env) {
	_, key := must2(ed25519.GenerateKey(nil))
	e.wrap = func(o *Options) {
		o.SignReceipt = func() (ed25519.PrivateKey, error) { return bytes.Clone(key), nil }
	}
}

func must2[A, B any](a A, b B, err error) (A, B) {
	if err != nil {
		panic(err)
	}
	return a, b
}

func (e *env) forgetIt(path string) *receipt.Receipt {
	e.t.Helper()
	f, err := e.Forget(ctx, Who{User: "root"}, path, "as asked")
	e.check(err)
	r, _, err := receipt.Verify(f.Receipt)
	e.check(err)
	if !r.IsAbout(strings.Trim(path, "/"), f.Salt) {
		e.t.Errorf("the receipt is not about %s", path)
	}
	return r
}

func TestForgettingDestroysTheKeyAndDeletesWhatItSealed(t *testing.T) {
	e := newEnv(t, patients, signed)
	e.put("patients/1/labs/small", data(1, inlineSize))
	e.put("patients/1/large", data(2, blobSize))
	e.put("patients/2/large", data(3, blobSize))
	unit, dir := e.unitAt("patients/1"), must(e.Stat(ctx, "patients/1")).File
	r := e.forgetIt("/patients/1/")
	if len(r.Units) != 1 || r.Units[0] != unit || r.Directory != dir || r.Files != 2 || r.Directories != 2 || r.Bytes != inlineSize+blobSize || r.Outside+r.Damaged != 0 {
		t.Errorf("the receipt says %+v", r)
	}
	if r.By != "root" || r.Reason != "as asked" || r.FS != e.id || r.Destroyed.Before(r.Requested) {
		t.Errorf("the receipt says %+v", r)
	}
	if _, err := e.keys.Unit(unit); !errors.Is(err, efs.ErrForgotten) {
		t.Errorf("the unit's key: %v", err)
	}
	e.missing("patients/1")
	e.missing("patients/1/large")
	if n := len(e.blobs()); n != 1 {
		t.Errorf("%d blobs, want that of patient 2", n)
	}
	e.holds("patients/2/large", data(3, blobSize))
	e.clean()
	_, err := e.Forget(ctx, Who{}, "patients/1", "")
	e.refused("again", err, efs.ErrNotFound)
	e.reopen()
	all, err := e.Receipts(ctx)
	e.check(err)
	if len(all) != 1 || !strings.Contains(string(all[0]), r.ID.String()) {
		t.Errorf("%d receipts are kept", len(all))
	}
	changes, err := e.Changes(ctx, 0, 1000)
	e.check(err)
	last := changes[len(changes)-1]
	if last.Op != efs.OpForgotten || last.Before == nil || last.Before.File != dir || last.Path != "" {
		t.Errorf("the last change is %+v", last)
	}
	for _, c := range changes {
		if strings.Contains(c.Path, "patients/1") {
			t.Errorf("change %d tells of %s", c.Seq, c.Path)
		}
	}
	e.put("patients/1/new", data(4, inlineSize))
	if e.unitAt("patients/1") == unit {
		t.Error("somebody of the same name has the old key")
	}
}

func TestOnlyUnitsAreForgotten(t *testing.T) {
	e := newEnv(t, patients, signed)
	e.put("patients/1/labs/f", nil)
	e.put("patients/index", nil)
	e.put("staff/1/f", nil)
	for path, want := range map[string]error{
		"": efs.ErrBadPath, "/": efs.ErrBadPath,
		"patients/1/labs":   efs.ErrBadInput, // in a unit
		"patients/1/labs/f": efs.ErrBadInput,
		"patients":          efs.ErrBadInput, // the index lies in none
		"patients/index":    efs.ErrBadInput,
		"staff":             efs.ErrBadInput,
		"patients/9":        efs.ErrNotFound,
	} {
		_, err := e.Forget(ctx, Who{}, path, "")
		e.refused("forgetting '"+path+"'", err, want)
	}
	_, err := e.Forget(ctx, Who{}, "patients/1", strings.Repeat("x", MaxReason+1))
	e.refused("a long reason", err, efs.ErrBadInput)
	e.holds("patients/1/labs/f", nil)
	e.holds("staff/1/f", nil)
	e.check(e.Remove(ctx, "patients/index", RemoveOptions{}))
	if r := e.forgetIt("patients"); len(r.Units) != 1 || r.Files != 1 || r.Directories != 3 {
		t.Errorf("the receipt says %+v", r)
	}
	e.missing("patients")
	e.clean()
}

func TestWhatWasDeletedBeforeIsForgottenByItsPath(t *testing.T) {
	e := newEnv(t, patients, signed)
	e.put("patients/1/f", data(1, inlineSize))
	e.put("patients/2/f", data(2, inlineSize))
	one, two := e.unitAt("patients/1"), e.unitAt("patients/2")
	e.check(e.Remove(ctx, "patients/1", RemoveOptions{Recursive: true}))
	e.check(e.Remove(ctx, "patients", RemoveOptions{Recursive: true}))
	e.idle()
	if r := e.forgetIt("patients/1"); len(r.Units) != 1 || r.Units[0] != one || !r.Directory.IsZero() || r.Files != 0 {
		t.Errorf("the receipt says %+v", r)
	}
	if r := e.forgetIt("patients"); len(r.Units) != 1 || r.Units[0] != two {
		t.Errorf("the receipt says %+v", r)
	}
	e.clean()
}

func TestReadingEndsWhenItIsForgotten(t *testing.T) {
	e := newEnv(t, patients, signed)
	e.put("patients/1/small", data(1, inlineSize))
	e.put("patients/1/large", data(2, blobSize))
	var open []*File
	for _, path := range []string{"patients/1/small", "patients/1/large"} {
		f, err := e.Open(ctx, path)
		e.check(err)
		open = append(open, f)
	}
	e.forgetIt("patients/1")
	for _, f := range open {
		_, err := f.ReadAt(make([]byte, 10), 0)
		e.refused("reading on", err, efs.ErrForgotten)
		e.refused("reading on", f.WriteRange(io.Discard, 0, -1), efs.ErrForgotten)
		e.check(f.Close())
	}
	e.idle()
	if n := len(e.blobs()); n != 0 {
		t.Errorf("%d blobs are left", n)
	}
	e.clean()
}

// TestForgettingIsResumed ends the process, as it were, before each step.
func TestForgettingIsResumed(t *testing.T) {
	for _, step := range []string{"detached", "noted", "emptied", "destroyed"} {
		t.Run(step, func(t *testing.T) {
			e := newEnv(t, patients, signed)
			e.put("patients/1/labs/small", data(1, inlineSize))
			e.put("patients/1/large", data(2, blobSize))
			e.put("patients/2/large", data(3, blobSize))
			unit := e.unitAt("patients/1")
			id, job := efs.NewTimeID(), &forgetting{Subject: []byte("…"), Begun: e.now()}
			e.check(e.beginForget(ctx, []string{"patients", "1"}, Who{}, id, job))
			e.missing("patients/1/large")
			if step != "detached" {
				e.check(e.noteForgotten(ctx, id, job))
			}
			if step == "emptied" || step == "destroyed" {
				e.check(e.emptyForgotten(ctx))
			}
			if step == "destroyed" {
				e.check(e.keys.DestroyUnits(ctx, job.Units...))
			}
			e.reopen()
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				if all := must(e.Receipts(ctx)); len(all) == 1 {
					r, _, err := receipt.Verify(all[0])
					e.check(err)
					if r.ID != id || len(r.Units) != 1 || r.Units[0] != unit || r.Files != 2 {
						t.Errorf("the receipt says %+v", r)
					}
					if _, err := e.keys.Unit(unit); !errors.Is(err, efs.ErrForgotten) {
						t.Errorf("the unit's key: %v", err)
					}
					e.clean()
					e.holds("patients/2/large", data(3, blobSize))
					return
				}
			}
			t.Fatal("it is not brought to its end")
		})
	}
}

// TestABackupOpensNothingOfWhatWasForgotten puts index and contents from before
// the forgetting back, but not keys.db: that has backups of its own.
func TestABackupOpensNothingOfWhatWasForgotten(t *testing.T) {
	e := newEnv(t, patients, signed)
	const secret = "Rosalind-Franklin"
	body := bytes.Repeat([]byte("photograph 51 "), 5000)
	e.put("patients/"+secret+"/"+secret+"-small", body[:inlineSize])
	e.put("patients/"+secret+"/dir/"+secret+"-large", body)
	e.put("patients/other/large", data(3, blobSize))
	e.put("staff/large", data(4, blobSize))
	mode := uint32(0o600)
	_, err := e.Patch(ctx, "patients/"+secret, PatchOptions{Mode: &mode, Meta: map[string]*string{"name": ptr(secret)}})
	e.check(err)
	e.idle()
	dir := must(e.Stat(ctx, "patients/"+secret)).File
	label, err := e.SealLabel(ctx, "patients/"+secret)
	e.check(err)
	e.close()
	backup := t.TempDir()
	copyTree(t, e.path("index.db"), filepath.Join(backup, "index.db"))
	copyTree(t, e.path("files"), filepath.Join(backup, "files"))
	e.check(e.tryOpen())
	e.forgetIt("patients/" + secret)
	e.put("staff/later", nil)
	e.close()
	for _, name := range []string{"index.db", "files"} {
		e.check(os.RemoveAll(e.path(name)))
		copyTree(t, filepath.Join(backup, name), e.path(name))
	}
	e.refused("the old index", e.tryOpen(), efs.ErrRolledBack)
	e.check(e.tryOpen(func(o *Options) { o.AcceptRollback = true }))

	e.holds("staff/large", data(4, blobSize))
	e.holds("patients/other/large", data(3, blobSize))
	for _, path := range []string{"", "/dir", "/" + secret + "-small", "/dir/" + secret + "-large"} {
		e.missing("patients/" + secret + path)
	}
	page, _, err := e.List(ctx, "", ListOptions{Recursive: true})
	e.check(err)
	for _, l := range page {
		if strings.Contains(l.Path, secret) {
			t.Errorf("%s is listed", l.Path)
		}
	}
	if _, err := e.Resolve(ctx, dir); err == nil {
		t.Error("the directory is found by its id")
	}
	_, err = e.OpenLabel(ctx, label)
	e.refused("a label", err, efs.ErrForgotten)
	e.nothingOpens(secret, body)

	report, err := e.Fsck(ctx, FsckOptions{Deep: true})
	e.check(err)
	e.only(report, ProblemForgotten, ProblemUsage)
	report, err = e.Fsck(ctx, FsckOptions{Deep: true, Repair: true})
	e.check(err)
	e.only(report, ProblemForgotten, ProblemUsage)
	e.clean()
	e.put("patients/"+secret+"/new", nil)
	e.clean()
	e.holds("staff/large", data(4, blobSize))
}

func ptr[T any](v T) *T { return &v }

// only checks that a report has problems of these kinds and no other.
func (e *env) only(r *FsckReport, kinds ...string) {
	e.t.Helper()
	found := map[string]bool{}
	for _, p := range r.Problems {
		found[p.Kind] = true
	}
	for _, k := range kinds {
		if !found[k] {
			e.t.Errorf("fsck does not find %s", k)
		}
		delete(found, k)
	}
	for _, p := range r.Problems {
		if found[p.Kind] {
			e.t.Errorf("fsck: %+v", p)
		}
	}
}

// nothingOpens tries every record, change and content with every key that there
// still is, and demands that neither a name nor a part of a body come to light.
func (e *env) nothingOpens(name string, body []byte) {
	e.t.Helper()
	opened, forgotten := 0, 0
	look := func(what string, b []byte, err error) {
		switch {
		case isForgotten(err):
			forgotten++
		case err != nil:
			e.t.Errorf("%s: %v", what, err)
		default:
			opened++
			if bytes.Contains(b, []byte(name)) || bytes.Contains(b, body[:32]) {
				e.t.Errorf("%s holds what was forgotten", what)
			}
		}
	}
	for space := efs.Space(1); int(space) <= efs.Spaces; space++ {
		e.check(e.scan(ctx, space, nil, scanPage, func(r *efs.Record) error {
			if space == efs.SpaceInline {
				_, err := e.inlineOwner(efs.ID(r.Key), r.Sealed)
				look("inline content", nil, err)
				return nil
			}
			b, _, err := e.openRecord(space, r.Key, r.Sealed)
			look("record", b, err)
			return nil
		}))
	}
	sealed, err := e.o.Index.Changes(ctx, 0, 1000)
	e.check(err)
	for i := range sealed {
		var c efs.Change
		err := e.openChange(&sealed[i], &c)
		if err == nil && c.Op == efs.OpForgotten {
			err = efs.ErrForgotten
		}
		look("change", []byte(c.Path+c.From), err)
	}
	for _, id := range e.blobs() {
		_, err := e.ownerOf(ctx, id)
		look("blob", nil, err)
	}
	if opened == 0 || forgotten < 12 {
		e.t.Errorf("%d records opened and %d were forgotten", opened, forgotten)
	}
	e.check(filepath.WalkDir(e.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(name)) || bytes.Contains(b, body[:32]) {
			e.t.Errorf("%s holds what was forgotten in clear", path)
		}
		return err
	}))
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		return
	}
	matches, err := filepath.Glob(from + "*") // the index and its log
	if err != nil || len(matches) == 0 {
		t.Fatal(matches, err)
	}
	for _, m := range matches {
		b, err := os.ReadFile(m)
		if err == nil {
			err = os.WriteFile(filepath.Join(filepath.Dir(to), filepath.Base(m)), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestForgettingBesideWriters(t *testing.T) {
	e := newEnv(t, patients, signed)
	stop, done := context.WithCancel(ctx)
	ended := make(chan error, 4)
	for i := range cap(ended) {
		go func() {
			for n := 0; stop.Err() == nil; n++ {
				size := []int{inlineSize, blobSize}[(n+i)%2]
				_, err := e.Put(ctx, "patients/1/dir/f"+string(rune('a'+i)), bytes.NewReader(data(1, size)), PutOptions{Size: -1})
				if err != nil && !errors.Is(err, efs.ErrUnavailable) {
					ended <- err
					return
				}
			}
			ended <- nil
		}()
	}
	for forgotten := 0; forgotten < 10; {
		_, err := e.Forget(ctx, Who{}, "patients/1", "")
		if err == nil {
			forgotten++
		} else if !errors.Is(err, efs.ErrNotFound) {
			t.Errorf("forgetting: %v", err)
		}
	}
	done()
	for range cap(ended) {
		e.check(<-ended)
	}
	e.idle()
	e.clean()
}

func TestAForgettingThatFailedIsTriedAgain(t *testing.T) {
	var fail atomic.Bool
	fail.Store(true)
	e := newEnv(t, patients, signed, func(e *env) {
		sign := e.wrap
		e.wrap = func(o *Options) {
			sign(o)
			o.KeyCopies = func() ([]time.Time, error) {
				if fail.Load() {
					return nil, efs.ErrUnavailable
				}
				return []time.Time{time.Unix(2e9, 0), time.Unix(1e9, 0)}, nil
			}
		}
	})
	e.put("patients/1/f", data(1, blobSize))
	_, err := e.Forget(ctx, Who{}, "patients/1", "")
	e.refused("without its last step", err, efs.ErrUnavailable)
	e.missing("patients/1")
	fail.Store(false)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		e.work.kick()
		if all := must(e.Receipts(ctx)); len(all) == 1 {
			r, _, err := receipt.Verify(all[0])
			e.check(err)
			if k := r.KeyCopies; k.Known != 2 || k.Never || k.Last.Unix() != 2e9 {
				t.Errorf("copies of keys: %+v", k)
			}
			return
		}
	}
	t.Fatal("it is not brought to its end")
}
