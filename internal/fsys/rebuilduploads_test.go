package fsys

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/blob/dir"
	"github.com/efs-project/efs/internal/index/bolt"
)

// rebuilt opens the file system with an index that is made of the records of
// before, as from a journal, and of the contents that are there now.
func (e *env) rebuilt(before efs.IndexSnapshot) *RebuildReport {
	e.t.Helper()
	e.close()
	sealer := must(HeadSealer(e.id, e.keys))
	path := e.path("rebuilt.db")
	b := must(bolt.Build(path, e.id, sealer))
	for space := efs.SpacePlaces; int(space) <= efs.Spaces; space++ {
		for _, r := range must(before.Scan(ctx, space, nil, nil, 10_000)) {
			e.check(b.Put(efs.Key{Space: space, Bytes: r.Key}, r.Version, r.Sealed))
		}
	}
	for _, r := range must(before.Queued(ctx, efs.Release{}, 10_000)) {
		e.check(b.Queue(r))
	}
	head := before.Head()
	e.check(before.Close())
	head.Revision, head.Seq = head.Revision+1_000_000, head.Seq+1_000_000
	e.check(b.Finish(head))
	index := must(bolt.Open(path, e.id, sealer, e.index))
	blobs := must(dir.Open(e.path("files"), e.files))
	report, err := Rebuild(ctx, e.options(index, blobs), false, nil)
	e.check(errors.Join(err, index.Close(), blobs.Close()))
	for i, name := range bolt.Files(path) {
		to := bolt.Files(e.path("index.db"))[i]
		e.check(os.RemoveAll(to))
		if err := os.Rename(name, to); err != nil && !errors.Is(err, os.ErrNotExist) {
			e.t.Fatal(err)
		}
	}
	e.check(e.tryOpen(func(o *Options) { o.AcceptRollback = true }))
	return report
}

// An upload that is open goes on with an index that was made anew; a part that
// was replaced after the journal's end is to be sent again.
func TestAnUploadGoesOnWithARebuiltIndex(t *testing.T) {
	e := newEnv(t)
	e.put("file", data(9, blobSize))
	id := e.beginUpload("f")
	one, _ := e.part(id, 1, data(1, blobSize)), e.part(id, 2, data(2, blobSize))
	e.idle()
	before := must(e.o.Index.Snapshot(ctx))
	e.part(id, 2, data(3, blobSize))
	e.idle()
	report := e.rebuilt(before)
	if report.Files != 1 || report.Bytes != blobSize || report.GoneFiles != 0 {
		t.Errorf("%+v", report)
	}
	e.idle()
	if r := e.clean(); !r.UsageChecked {
		t.Error("the usage was not checked")
	}
	up := must(e.OpenUpload(ctx, id, alice))
	if len(up.Parts) != 1 || up.Parts[0].Number != 1 {
		t.Fatalf("%+v", up.Parts)
	}
	two := e.part(id, 2, data(4, blobSize))
	e.complete(id, one, two)
	e.holds("f", slices.Concat(data(1, blobSize), data(4, blobSize)))
	e.holds("file", data(9, blobSize))
	e.nothingOpen()
}
