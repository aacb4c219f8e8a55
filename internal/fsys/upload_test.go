package fsys

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

var alice = Who{User: "alice"}

func (e *env) beginUpload(path string) efs.ID {
	e.t.Helper()
	up, err := e.BeginUpload(ctx, path, UploadOptions{Who: alice})
	e.check(err)
	return up.ID
}

func (e *env) part(id efs.ID, n int, body []byte) UploadPart {
	e.t.Helper()
	p, err := e.PutPart(ctx, id, n, bytes.NewReader(body), PartOptions{Who: alice, Size: int64(len(body))})
	e.check(err)
	if p.Number != n || p.Size != int64(len(body)) || !bytes.Equal(p.SHA256, digest(body)) {
		e.t.Errorf("part %d: %+v", n, p)
	}
	return p
}

func (e *env) complete(id efs.ID, parts ...UploadPart) PutResult {
	e.t.Helper()
	res, err := e.CompleteUpload(ctx, id, CompleteOptions{Who: alice, Parts: parts})
	e.check(err)
	return res
}

// nothingOpen demands that uploads have left nothing.
func (e *env) nothingOpen() {
	e.t.Helper()
	e.idle()
	if n, m := e.records(efs.SpaceUploads), e.Uploads(); n+m != 0 {
		e.t.Errorf("%d records of %d uploads are left", n, m)
	}
	e.clean()
}

func TestAnUploadIsAFileOnceItIsCompleted(t *testing.T) {
	e := newEnv(t)
	when := time.Date(2001, 2, 3, 4, 5, 6, 7000, time.UTC)
	up, err := e.BeginUpload(ctx, "new/dir/file", UploadOptions{Who: alice, Type: "a/b", Meta: map[string]string{"k": "v"}, Mode: 0o640, Modified: when})
	e.check(err)
	var parts []UploadPart
	var whole []byte
	for i, size := range []int{blobSize, inlineSize, 0, 3 * blobSize, 1} {
		body := data(uint64(i), size)
		parts = append(parts, e.part(up.ID, i+1, body))
		whole = append(whole, body...)
		e.missing("new")
	}
	if u := must(e.Usage(ctx)); u != (efs.Usage{Bytes: int64(len(whole))}) {
		t.Errorf("an open upload uses %+v", u)
	}
	e.clean()
	e.reopen()
	e.clean()
	got, err := e.OpenUpload(ctx, up.ID, alice)
	if err != nil || len(got.Parts) != 5 || got.Path != "new/dir/file" || got.User != "alice" || !bytes.Equal(got.Parts[3].SHA256, parts[3].SHA256) {
		t.Fatalf("%+v, %v", got, err)
	}
	res, err := e.CompleteUpload(ctx, up.ID, CompleteOptions{Who: alice, Parts: parts, SHA256: digest(whole)})
	e.check(err)
	f := res.Entry
	if !res.Created || f.Version != 1 || f.DigestKind != efs.DigestFull || !bytes.Equal(f.Digest, digest(whole)) || f.Type != "a/b" ||
		f.Meta["k"] != "v" || f.Mode != 0o640 || f.Modified != when.UnixMicro() || f.Owner != "alice" || len(f.Extents) != 5 {
		t.Errorf("%+v", res)
	}
	e.holds("new/dir/file", whole)
	if u := must(e.Usage(ctx)); u != (efs.Usage{Bytes: int64(len(whole)), Files: 1}) {
		t.Errorf("the file uses %+v", u)
	}
	if n := e.records(efs.SpaceContents); n != 0 {
		t.Errorf("%d records of contents are left", n)
	}
	_, err = e.CompleteUpload(ctx, up.ID, CompleteOptions{Who: alice, Parts: parts})
	e.refused("completing twice", err, efs.ErrNotFound)
	e.nothingOpen()
	e.reopen()
	e.holds("new/dir/file", whole)
	e.check(e.Remove(ctx, "new", RemoveOptions{Recursive: true}))
	e.nothingOpen()
	if n := len(e.blobs()); n != 0 {
		t.Errorf("%d blobs are left", n)
	}
}

func TestPartsInAnyOrder(t *testing.T) {
	for _, c := range []struct {
		name  string
		sent  []int
		named []int
		full  bool
	}{
		{"in order", []int{1, 2, 3}, []int{1, 2, 3}, true},
		{"backwards", []int{3, 2, 1}, []int{1, 2, 3}, false},
		{"one of many", []int{3, 2, 7}, []int{2}, true},
		{"with gaps", []int{5, 900, 1000}, []int{5, 900, 1000}, false},
		{"fewer than were sent", []int{1, 2, 3}, []int{1, 2}, false},
		{"the first not named", []int{1, 2, 3}, []int{2, 3}, false},
		{"the last sent again", []int{1, 2, 2, 3}, []int{1, 2, 3}, true},
	} {
		for _, checked := range []bool{false, true} {
			e := newEnv(t)
			old := e.put("f", data(99, blobSize)).Entry
			id := e.beginUpload("f")
			parts := map[int]UploadPart{}
			for _, n := range c.sent {
				parts[n] = e.part(id, n, data(uint64(n), blobSize))
			}
			var whole []byte
			o := CompleteOptions{Who: alice}
			composite := sha256.New()
			for _, n := range c.named {
				o.Parts = append(o.Parts, parts[n])
				whole = append(whole, data(uint64(n), blobSize)...)
				composite.Write(parts[n].SHA256)
			}
			if checked {
				o.SHA256 = digest(append([]byte("x"), whole...))
				_, err := e.CompleteUpload(ctx, id, o)
				e.refused(c.name+", with another digest", err, efs.ErrDigest)
				o.SHA256 = digest(whole)
			}
			res, err := e.CompleteUpload(ctx, id, o)
			e.check(err)
			f := res.Entry
			if full := f.DigestKind == efs.DigestFull; full != (c.full || checked) {
				t.Errorf("%s: the digest is full: %v", c.name, full)
			}
			if want := composite.Sum(nil); f.DigestKind == efs.DigestComposite && !bytes.Equal(f.Digest, want) {
				t.Errorf("%s: composite digest %x, want %x", c.name, f.Digest, want)
			}
			if f.File != old.File || f.Version != 2 || res.Created {
				t.Errorf("%s: %+v replaced %+v", c.name, f, old)
			}
			e.holds("f", whole)
			e.nothingOpen()
			if n := len(e.blobs()); n != len(c.named) {
				t.Errorf("%s: %d blobs for %d parts", c.name, n, len(c.named))
			}
			e.close()
		}
	}
}

func TestAPartTakesThePlaceOfItsNumber(t *testing.T) {
	e := newEnv(t)
	id := e.beginUpload("f")
	e.part(id, 1, data(1, blobSize))
	two := e.part(id, 2, data(2, blobSize))
	one := e.part(id, 1, data(3, inlineSize))
	if u := must(e.Usage(ctx)); u != (efs.Usage{Bytes: blobSize + inlineSize}) {
		t.Errorf("%+v in use", u)
	}
	e.clean()
	_, err := e.CompleteUpload(ctx, id, CompleteOptions{Who: alice, Parts: []UploadPart{{Number: 1, SHA256: digest(data(1, blobSize))}, two}})
	e.refused("a part that was replaced", err, ErrParts)
	res := e.complete(id, one, two)
	if res.Entry.DigestKind != efs.DigestComposite {
		t.Error("a digest goes over a part that was replaced")
	}
	e.holds("f", append(data(3, inlineSize), data(2, blobSize)...))
	e.nothingOpen()
}

func TestWhatAnUploadRefuses(t *testing.T) {
	e := newEnv(t)
	e.put("file", nil)
	must(e.Mkdir(ctx, "dir", MkdirOptions{}))
	for path, want := range map[string]error{"dir": efs.ErrIsDir, "file/x": efs.ErrNotDir, "a//b": efs.ErrBadPath, "": efs.ErrBadPath} {
		_, err := e.BeginUpload(ctx, path, UploadOptions{Who: alice})
		e.refused("beginning "+path, err, want)
	}
	_, err := e.BeginUpload(ctx, "file", UploadOptions{Who: alice, Cond: Cond{IfNoneMatch: []string{"*"}}})
	e.refused("beginning what must be new", err, efs.ErrPrecondition)
	_, err = e.BeginUpload(ctx, "x", UploadOptions{Who: alice, Mode: 1 << 20})
	e.refused("a mode that there is not", err, efs.ErrBadInput)

	id := e.beginUpload("x")
	body := data(1, blobSize)
	put := func(id efs.ID, n int, o PartOptions) error {
		_, err := e.PutPart(ctx, id, n, bytes.NewReader(body), o)
		return err
	}
	e.refused("part 0", put(id, 0, PartOptions{Who: alice, Size: -1}), efs.ErrBadInput)
	e.refused("part 1001", put(id, MaxParts+1, PartOptions{Who: alice, Size: -1}), efs.ErrBadInput)
	e.refused("another's upload", put(id, 1, PartOptions{Who: Who{User: "bob"}, Size: -1}), efs.ErrNotFound)
	e.refused("no upload", put(efs.NewID(), 1, PartOptions{Who: alice, Size: -1}), efs.ErrNotFound)
	e.refused("a wrong length", put(id, 1, PartOptions{Who: alice, Size: 1}), efs.ErrBadInput)
	e.refused("a wrong digest", put(id, 1, PartOptions{Who: alice, Size: -1, SHA256: digest(nil)}), efs.ErrDigest)
	broken := errors.New("cut off")
	_, err = e.PutPart(ctx, id, 1, io.MultiReader(bytes.NewReader(body), errReader{broken}), PartOptions{Who: alice, Size: -1})
	e.refused("a body that breaks off", err, broken)
	if n := len(e.blobs()); n != 0 {
		t.Errorf("%d blobs after refusals", n)
	}
	one := e.part(id, 1, body)
	_, err = e.OpenUpload(ctx, id, Who{User: "bob"})
	e.refused("looking at another's upload", err, efs.ErrNotFound)
	e.refused("aborting another's upload", e.AbortUpload(ctx, id, Who{User: "bob"}), efs.ErrNotFound)
	_, err = e.CompleteUpload(ctx, id, CompleteOptions{Who: Who{User: "bob"}, Parts: []UploadPart{one}})
	e.refused("completing another's upload", err, efs.ErrNotFound)
	for what, parts := range map[string][]UploadPart{"no parts": nil, "a part twice": {one, one}, "a part that is not there": {one, {Number: 2, SHA256: one.SHA256}}} {
		_, err = e.CompleteUpload(ctx, id, CompleteOptions{Who: alice, Parts: parts})
		e.refused(what, err, ErrParts)
	}
	_, err = e.CompleteUpload(ctx, id, CompleteOptions{Who: alice, Parts: []UploadPart{one}, Cond: Cond{IfMatch: []string{"other"}}})
	e.refused("completing over another version", err, efs.ErrPrecondition)
	e.missing("x")
	e.check(e.AbortUpload(ctx, id, alice))
	_, err = e.OpenUpload(ctx, id, alice)
	e.refused("what was aborted", err, efs.ErrNotFound)
	e.nothingOpen()
	if u := must(e.Usage(ctx)); u != (efs.Usage{Files: 1}) || len(e.blobs()) != 0 {
		t.Errorf("%+v in use, %d blobs", u, len(e.blobs()))
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestUploadsOfAUserAreBounded(t *testing.T) {
	e := newEnv(t)
	var last efs.ID
	for range MaxUploads {
		last = e.beginUpload("x")
	}
	_, err := e.BeginUpload(ctx, "x", UploadOptions{Who: alice})
	e.refused("one upload more", err, ErrTooMany)
	must(e.BeginUpload(ctx, "x", UploadOptions{Who: Who{User: "bob"}}))
	e.reopen()
	_, err = e.BeginUpload(ctx, "x", UploadOptions{Who: alice})
	e.refused("one upload more after a restart", err, ErrTooMany)
	e.check(e.AbortUpload(ctx, last, alice))
	e.beginUpload("x")
	e.check(e.AbandonUploads(ctx))
	e.nothingOpen()
}

func TestUploadsExpire(t *testing.T) {
	var late time.Duration
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(late) }
	e := newEnv(t, func(e *env) { e.wrap = func(o *Options) { o.Clock = clock } })
	pass := func(d time.Duration) { mu.Lock(); late += d; mu.Unlock() }
	old, kept := e.beginUpload("old"), e.beginUpload("kept")
	e.part(old, 1, data(1, blobSize))
	pass(UploadTime / 2)
	one := e.part(kept, 1, data(2, blobSize)) // renews it
	pass(UploadTime/2 + time.Minute)
	_, err := e.PutPart(ctx, old, 2, bytes.NewReader(nil), PartOptions{Who: alice})
	e.refused("a part of an upload that has expired", err, efs.ErrNotFound)
	e.reopen() // found again after a restart
	e.check(e.expireUploads(ctx))
	if n := e.Uploads(); n != 1 {
		t.Errorf("%d uploads are open", n)
	}
	e.idle()
	e.clean()
	if n := len(e.blobs()); n != 1 {
		t.Errorf("%d blobs", n)
	}
	e.complete(kept, one)
	e.holds("kept", data(2, blobSize))
	e.nothingOpen()
}

func TestBytesOfUploadsCountAgainstQuotas(t *testing.T) {
	e := newEnv(t)
	e.quota("", 3*blobSize, 0)
	e.quota("alice", 2*blobSize, 1)
	e.counted()
	id := e.beginUpload("f")
	one, two := e.part(id, 1, data(1, blobSize)), e.part(id, 2, data(2, blobSize))
	for _, size := range []int64{1, -1} { // told before, and found out
		_, err := e.PutPart(ctx, id, 3, bytes.NewReader([]byte{1}), PartOptions{Who: alice, Size: size})
		e.refused("a part over the user's quota", err, efs.ErrQuota)
	}
	_, err := e.Put(ctx, "g", bytes.NewReader([]byte{1}), PutOptions{Who: alice, Size: -1})
	e.refused("a file over the user's quota", err, efs.ErrQuota)
	_, err = e.Put(ctx, "g", bytes.NewReader(data(3, blobSize+1)), PutOptions{Who: Who{User: "bob"}, Size: -1})
	e.refused("a file over the quota of all", err, efs.ErrQuota)
	e.clean()
	e.complete(id, one, two)
	if use := e.counted()["alice"]; use != (efs.Usage{Bytes: 2 * blobSize, Files: 1}) {
		t.Errorf("%+v", use)
	}
	id = e.beginUpload("f") // in place of the only file that there may be
	_, err = e.PutPart(ctx, id, 1, bytes.NewReader([]byte{1}), PartOptions{Who: alice, Size: 1})
	e.refused("a part beside a full quota", err, efs.ErrQuota)
	e.check(e.AbortUpload(ctx, id, alice))
	e.nothingOpen()

	// A quota that is set while an upload is open counts it when it is completed.
	e.check(e.Remove(ctx, "f", RemoveOptions{}))
	e.quota("alice", 0, 0)
	id = e.beginUpload("f")
	one = e.part(id, 1, data(1, blobSize))
	e.quota("alice", blobSize-1, 0)
	e.counted()
	e.clean()
	_, err = e.CompleteUpload(ctx, id, CompleteOptions{Who: alice, Parts: []UploadPart{one}})
	e.refused("completing over a new quota", err, efs.ErrQuota)
	e.check(e.AbortUpload(ctx, id, alice))
	if use := e.counted()["alice"]; use != (efs.Usage{}) {
		t.Errorf("%+v", use)
	}
	e.nothingOpen()
}

func TestPartsAtTheSameTime(t *testing.T) {
	e := newEnv(t)
	const n = 40
	id := e.beginUpload("f")
	parts := make([]UploadPart, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for range 2 { // each twice
				p, err := e.PutPart(ctx, id, i+1, bytes.NewReader(data(uint64(i), 9000)), PartOptions{Who: alice, Size: 9000})
				if err != nil {
					t.Error(err)
				}
				parts[i] = p
			}
		})
	}
	all.Wait()
	e.clean()
	e.complete(id, parts...)
	var whole []byte
	for i := range n {
		whole = append(whole, data(uint64(i), 9000)...)
	}
	e.holds("f", whole)
	e.nothingOpen()
	if got := len(e.blobs()); got != n {
		t.Errorf("%d blobs for %d parts", got, n)
	}
}

// A file of very many parts is read in ranges, by many at once, with few of its
// contents open; replaced while it is read, it is read to its end.
func TestAFileOfManyParts(t *testing.T) {
	e := newEnv(t)
	id := e.beginUpload("f")
	var parts []UploadPart
	var whole []byte
	r := rand.New(rand.NewPCG(1, 2))
	for i := range MaxParts {
		body := data(uint64(i), r.IntN(700))
		parts = append(parts, e.part(id, i+1, body))
		whole = append(whole, body...)
	}
	res := e.complete(id, parts...)
	if len(res.Entry.Extents) != MaxParts || res.Entry.DigestKind != efs.DigestFull {
		t.Errorf("%d extents, digest of kind %d", len(res.Entry.Extents), res.Entry.DigestKind)
	}
	e.holds("f", whole)
	f := must(e.Open(ctx, "f"))
	defer f.Close()
	read := func(off, n int64) {
		var b bytes.Buffer
		if err := f.WriteRange(&b, off, n); err != nil || !bytes.Equal(b.Bytes(), whole[off:off+n]) {
			t.Errorf("%d bytes from %d: %d bytes, %v", n, off, b.Len(), err)
		}
		at := make([]byte, n)
		if m, err := f.ReadAt(at, off); int64(m) != n || err != nil && err != io.EOF || !bytes.Equal(at, whole[off:off+n]) {
			t.Errorf("ReadAt %d bytes from %d: %d bytes, %v", n, off, m, err)
		}
	}
	size := int64(len(whole))
	for _, x := range [][2]int64{{0, 0}, {0, 1}, {size, 0}, {size - 1, 1}, {0, size}, {size / 2, size / 2}} {
		read(x[0], x[1])
	}
	e.put("f", nil) // f goes on
	e.work.kick()
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(3, uint64(w)))
			for range 50 {
				off := r.Int64N(size)
				read(off, min(size-off, r.Int64N(3000)))
			}
		})
	}
	all.Wait()
	open := 0
	for i := range f.parts {
		if f.parts[i].isOpen() {
			open++
		}
	}
	if open > openParts {
		t.Errorf("%d of %d parts are open", open, len(f.parts))
	}
	e.check(f.Close())
	e.nothingOpen()
	if n := len(e.blobs()); n != 0 {
		t.Errorf("%d blobs are left", n)
	}
}

func TestFilesOfPartsAreMovedCopiedAndDamaged(t *testing.T) {
	e := newEnv(t, patients)
	var whole []byte
	var parts []UploadPart
	id := e.beginUpload("patients/1/f") // whose directory there is not yet
	if _, err := e.Stat(ctx, "patients/1"); err != nil {
		t.Errorf("the unit was not made: %v", err)
	}
	for i := range 7 {
		parts = append(parts, e.part(id, i+1, data(uint64(i), blobSize)))
		whole = append(whole, data(uint64(i), blobSize)...)
	}
	e.complete(id, parts...)
	e.sealedFor("patients/1/f", e.unitAt("patients/1"))
	must(e.Copy(ctx, "patients/1/f", "copy", CopyOptions{}))
	must(e.Move(ctx, "patients/1/f", "patients/2/f", MoveOptions{}))
	e.holds("copy", whole)
	e.holds("patients/2/f", whole)
	e.sealedFor("patients/2/f", e.unitAt("patients/2"))
	e.nothingOpen()

	id = e.beginUpload("broken")
	for i := range parts {
		e.part(id, i+1, data(uint64(i), blobSize))
	}
	f := e.complete(id, parts...).Entry
	e.idle()
	e.check(e.o.Blobs.Remove(ctx, f.Extents[5].Content))
	if _, err := e.read("broken"); !errors.Is(err, efs.ErrDamaged) {
		t.Errorf("a file with a part gone: %v", err)
	}
	e.reports("a part of a file is gone", ProblemContent)
}

// What was at the path when an upload began may be elsewhere when it ends.
func TestAnUploadLeavesAFileThatWasMovedAlone(t *testing.T) {
	e := newEnv(t)
	old := e.put("f", data(1, blobSize)).Entry
	id := e.beginUpload("f")
	one := e.part(id, 1, data(2, blobSize))
	must(e.Move(ctx, "f", "g", MoveOptions{}))
	f := e.complete(id, one).Entry
	if f.File == old.File || f.Version != 1 {
		t.Errorf("%+v beside %+v", f, old)
	}
	e.holds("f", data(2, blobSize))
	e.holds("g", data(1, blobSize))
	e.nothingOpen()
	e.crash() // the blob leads to its file all the same
	e.check(e.tryOpen())
	<-e.work.begun
	e.holds("f", data(2, blobSize))
	e.clean()
}

func TestFsckFindsUploadsThatCannotBeCompleted(t *testing.T) {
	e := newEnv(t)
	id := e.beginUpload("f")
	e.part(id, 1, data(1, blobSize))
	e.idle()
	e.check(e.o.Blobs.Remove(ctx, e.blobs()[0]))
	_, err := e.CompleteUpload(ctx, id, CompleteOptions{Who: alice, Parts: []UploadPart{{Number: 1, SHA256: digest(data(1, blobSize))}}})
	e.refused("completing with a part that is lost", err, ErrParts)
	e.reports("a part is gone", ProblemUpload)
	r, err := e.Fsck(ctx, FsckOptions{Repair: true})
	if err != nil || len(r.Problems) != 1 || !r.Problems[0].Repaired {
		t.Fatalf("%+v, %v", r, err)
	}
	e.nothingOpen()
}

// Each step of an upload may be the last: what was confirmed is there at the next
// start, and no content is left that belongs to nothing.
func TestUploadsSurviveAKill(t *testing.T) {
	for _, at := range []string{"begun", "part", "blob", "completed", "aborted"} {
		t.Run(at, func(t *testing.T) {
			e := newEnv(t)
			id := e.beginUpload("f")
			var parts []UploadPart
			if at != "begun" {
				parts = append(parts, e.part(id, 1, data(1, blobSize)), e.part(id, 2, data(2, blobSize)))
			}
			switch at {
			case "blob": // durable, but its transaction never came
				p := &partPut{fs: e.FS, up: must(e.upload(ctx, id)), number: 3, o: PartOptions{Size: -1}}
				e.check(p.blob(ctx, efs.NewID(), bytes.NewReader(data(3, blobSize))))
			case "completed":
				e.complete(id, parts...)
			case "aborted":
				e.check(e.AbortUpload(ctx, id, alice))
			}
			e.crash()
			e.check(e.tryOpen())
			<-e.work.begun
			e.clean()
			up, err := e.OpenUpload(ctx, id, alice)
			if at == "completed" || at == "aborted" {
				e.refused("the upload", err, efs.ErrNotFound)
				if at == "completed" {
					e.holds("f", slices.Concat(data(1, blobSize), data(2, blobSize)))
				}
			} else {
				if err != nil || len(up.Parts) != len(parts) {
					t.Fatalf("%+v, %v", up, err)
				}
				parts = append(up.Parts, e.part(id, len(parts)+1, data(9, blobSize)))
				if f := e.complete(id, parts...).Entry; f.DigestKind != efs.DigestFull {
					t.Error("the digest was not carried on")
				}
			}
			e.nothingOpen()
			if at == "aborted" && len(e.blobs()) != 0 {
				t.Errorf("%d blobs are left", len(e.blobs()))
			}
		})
	}
}

func TestUploadsMeetForgetting(t *testing.T) {
	e := newEnv(t, patients, signed)
	e.put("patients/2/x", nil)
	id, other := e.beginUpload("patients/1/f"), e.beginUpload("patients/2/f")
	one, two := e.part(id, 1, data(1, blobSize)), e.part(other, 1, data(1, blobSize))
	e.forgetIt("patients/1")
	for what, err := range map[string]error{
		"the upload": errOf(e.OpenUpload(ctx, id, alice)), "completing it": errOf(e.CompleteUpload(ctx, id, CompleteOptions{Who: alice, Parts: []UploadPart{one}})),
		"a part of it": errOf(e.PutPart(ctx, id, 2, bytes.NewReader(nil), PartOptions{Who: alice})),
	} {
		e.refused(what, err, efs.ErrNotFound)
	}
	e.idle()
	if n := len(e.blobs()); n != 1 {
		t.Errorf("%d blobs", n)
	}
	e.complete(other, two)
	e.holds("patients/2/f", data(1, blobSize))
	e.nothingOpen()
}

func errOf[T any](_ T, err error) error { return err }

// An upload into a directory that becomes a unit is to be begun again; one whose
// path lies in another unit at its end is sealed anew for that.
func TestUploadsMeetNewUnits(t *testing.T) {
	e := newEnv(t, signed)
	e.put("patients/1/x", nil)
	in, out := e.beginUpload("patients/1/f"), e.beginUpload("elsewhere/f")
	e.part(in, 1, data(1, blobSize))
	one := e.part(out, 1, data(2, blobSize))
	e.converts("/patients/*")
	_, err := e.OpenUpload(ctx, in, alice)
	e.refused("an upload into what has become a unit", err, efs.ErrNotFound)
	e.complete(out, one)
	e.holds("elsewhere/f", data(2, blobSize))

	id := e.beginUpload("patients/1/g")
	parts := []UploadPart{e.part(id, 1, data(3, blobSize)), e.part(id, 2, data(4, blobSize))}
	e.check(e.Remove(ctx, "patients/1", RemoveOptions{Recursive: true}))
	e.complete(id, parts...) // into a unit of the same name, made anew
	e.holds("patients/1/g", slices.Concat(data(3, blobSize), data(4, blobSize)))
	e.sealedFor("patients/1/g", e.unitAt("patients/1"))
	e.nothingOpen()
}

// Retiring an epoch reaches the parts of uploads that are open.
func TestUploadsAreSealedAnewWhenTheirEpochIsRetired(t *testing.T) {
	e := newEnv(t)
	id := e.beginUpload("f")
	parts := []UploadPart{e.part(id, 1, data(1, blobSize)), e.part(id, 2, data(2, inlineSize))}
	epoch := e.keys.Epoch()
	e.retire(epoch)
	up := must(e.uploadParts(ctx, id))
	for _, p := range up {
		if p.Extent.Epoch == epoch {
			t.Errorf("part %d is still of epoch %d", p.number, epoch)
		}
	}
	e.clean()
	parts = append(parts, e.part(id, 3, data(3, blobSize)))
	if f := e.complete(id, parts...).Entry; f.DigestKind != efs.DigestFull {
		t.Error("the digest was not carried on")
	}
	e.holds("f", slices.Concat(data(1, blobSize), data(2, inlineSize), data(3, blobSize)))
	e.nothingOpen()
}

// Uploads, completions, aborts and deletions beside each other leave nothing.
func TestUploadsBesideEachOther(t *testing.T) {
	e := newEnv(t)
	var all sync.WaitGroup
	for w := range 6 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(w)))
			for i := range 12 {
				path := fmt.Sprintf("d%d/f", r.IntN(3))
				up, err := e.BeginUpload(ctx, path, UploadOptions{Who: alice})
				if err != nil {
					t.Error(err)
					return
				}
				var parts []UploadPart
				for n := range 1 + r.IntN(3) {
					p, err := e.PutPart(ctx, up.ID, n+1, bytes.NewReader(data(uint64(i), 5000)), PartOptions{Who: alice, Size: -1})
					if err != nil {
						t.Error(err)
						return
					}
					parts = append(parts, p)
				}
				if r.IntN(4) == 0 {
					err = e.AbortUpload(ctx, up.ID, alice)
				} else {
					_, err = e.CompleteUpload(ctx, up.ID, CompleteOptions{Who: alice, Parts: parts})
				}
				if err != nil {
					t.Error(err)
				}
				if r.IntN(5) == 0 {
					_ = e.Remove(ctx, path, RemoveOptions{}) // or another has
				}
			}
		})
	}
	all.Wait()
	e.nothingOpen()
}
