package fsys

import (
	"os"
	"slices"
	"testing"

	"github.com/efs-project/efs"
)

// inParts stores a file in two parts of one length.
func (e *env) inParts(path string, a, b byte) []byte {
	e.t.Helper()
	one, two := data(uint64(a), blobSize), data(uint64(b), blobSize)
	id := e.beginUpload(path)
	e.complete(id, e.part(id, 1, one), e.part(id, 2, two))
	return slices.Concat(one, two)
}

func (e *env) sealedAnew() {
	e.t.Helper()
	algorithm := efs.ChaCha20Poly1305
	if e.Policy().Stages[0].Algorithm == algorithm {
		algorithm = efs.AES256
	}
	e.set(func(p *efs.Policy) { p.Stages[0].Algorithm = algorithm })
	e.ended(must(e.Reseal(ctx, ResealOptions{})))
	e.idle()
}

// Each part finds its place again, though none differs from another in length.
func TestRebuildFindsPartsThatWereSealedAnew(t *testing.T) {
	e := newEnv(t)
	want := e.inParts("f", 1, 2)
	e.idle()
	before := e.asOfNow()
	e.sealedAnew()
	r := e.loseIndex(before)
	e.recovered(r)
	if r.Resealed != 2 || r.GoneFiles != 0 {
		t.Errorf("%+v", r)
	}
	e.holds("f", want)
	e.idle()
	e.clean()
}

// An older version of as many parts, of the same lengths, that somebody put back
// on the volume is not taken for the one whose parts are gone: no digest of the
// entry would tell.
func TestRebuildTakesNoOlderVersionForTheFile(t *testing.T) {
	e := newEnv(t)
	files := func() map[string][]byte {
		all := map[string][]byte{}
		for _, x := range must(e.Stat(ctx, "f")).Extents {
			path := e.blobFile(x.Content)
			all[path] = must(os.ReadFile(path))
		}
		return all
	}
	e.inParts("f", 1, 2)
	e.sealedAnew() // so that the trailers tell the version
	old := files()
	e.inParts("f", 3, 4)
	e.sealedAnew()
	before := e.asOfNow()
	for path := range files() {
		e.check(os.Remove(path))
	}
	for path, b := range old {
		e.check(os.WriteFile(path, b, 0o600))
	}
	r := e.loseIndex(before)
	e.recovered(r)
	if r.Resealed != 0 || !slices.Equal(r.Gone, []string{"/f"}) {
		t.Errorf("%+v", r)
	}
	e.missing("f")
	e.idle()
	e.clean()
}

// A file that was replaced by an upload in parts after the journal's end: the
// journal's version is gone, the newer one must not go with it.
func TestRebuildKeepsAnUploadThatReplacedAFile(t *testing.T) {
	e := newEnv(t)
	e.put("f", data(9, blobSize))
	e.idle()
	before := e.asOfNow()
	want := e.inParts("f", 1, 2)
	e.idle()
	r := e.loseIndex(before)
	e.recovered(r, "/recovered/f")
	if !slices.Equal(r.Gone, []string{"/f"}) {
		t.Errorf("%+v", r)
	}
	e.idle()
	e.holds("recovered/f", want)
	e.clean()
}

// A file of which a part is lost is not deleted with what is left of it: put
// back, it is whole.
func TestRebuildKeepsWhatIsLeftOfAFile(t *testing.T) {
	e := newEnv(t)
	want := e.inParts("f", 1, 2)
	e.idle()
	before := e.asOfNow()
	path := e.blobFile(must(e.Stat(ctx, "f")).Extents[1].Content)
	lost := must(os.ReadFile(path))
	e.check(os.Remove(path))
	r := e.loseIndex(before)
	e.recovered(r)
	if len(r.Gone) > 0 || r.PartlyFiles != 1 || !slices.Equal(r.Partly, []string{"/f"}) {
		t.Errorf("%+v", r)
	}
	e.idle()
	e.check(os.WriteFile(path, lost, 0o600))
	e.holds("f", want)
	e.clean()
}
