package salvage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/seal"
)

// orphan is the newest version of a file that contents tell of and the tree
// does not know.
type orphan struct {
	entry   efs.Entry
	path    string
	extents map[int]efs.Extent
	of      int  // how many extents it has, or at least has
	open    bool // nothing tells how many there are: parts of an upload
}

// orphans emits, below recovered/, what the trailers of contents tell of.
func (j *job) orphans(ctx context.Context, root string) error {
	found, err := j.findOrphans(ctx)
	if err != nil {
		return err
	}
	var all []*orphan
	for _, f := range found {
		if root == "" || f.path == root || strings.HasPrefix(f.path, root+"/") {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b *orphan) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(b.entry.Modified, a.entry.Modified), cmp.Compare(a.entry.File.String(), b.entry.File.String()))
	})
	for i, name := range orphanNames(j.recoveredIn(), all) {
		if err := j.emitOrphan(ctx, all[i], name); err != nil {
			return err
		}
	}
	return nil
}

// recoveredIn is the directory that strays and orphans come out in: one that
// the tree, which came out before, does not have.
func (j *job) recoveredIn() string {
	if j.rep.RecoveredIn != "" {
		return j.rep.RecoveredIn
	}
	dir := recoveredDir
	for j.taken[dir] {
		dir += "~"
	}
	j.rep.RecoveredIn = dir
	return dir
}

// orphanNames gives each orphan a name of its own, below dir. Files had the same
// path one after the other, or one that was a directory's at another time. They
// are told apart by the whole of their ids, which begin with the time.
func orphanNames(dir string, all []*orphan) []string {
	above := map[string]bool{} // what others lie below
	for _, f := range all {
		for p := path.Dir(f.path); archive.ValidName(p) && !above[p]; p = path.Dir(p) {
			above[p] = true
		}
	}
	names := make([]string, len(all))
	last := ""
	for i, f := range all {
		name := dir + "/" + f.path
		if f.path == last || above[f.path] {
			name += "~" + f.entry.File.String()
		}
		if !archive.ValidName(name) {
			name = dir + "/unnamed/" + f.entry.File.String()
		}
		names[i], last = name, f.path
	}
	return names
}

func (j *job) emitOrphan(ctx context.Context, f *orphan, name string) error {
	e := &f.entry
	for i := range f.of {
		x, ok := f.extents[i]
		if !ok {
			j.missing(Missing{Path: name, Why: fmt.Sprintf("part %d of %d of its contents is missing", i+1, f.of)})
			return nil
		}
		x.Offset = e.Size
		e.Size += x.Length
		e.Extents = append(e.Extents, x)
	}
	if err := j.parents(path.Dir(name)); err != nil {
		return err
	}
	if f.open {
		j.missing(Missing{Path: name, Why: fmt.Sprintf("%d parts of an upload came out as one file; there may have been more, and it may not have been completed", f.of)})
	}
	before := j.rep.Files
	err := j.emit(ctx, name, name, e)
	j.rep.Recovered += j.rep.Files - before
	return err
}

// parents emits the directories above what is emitted, each once.
func (j *job) parents(dir string) error {
	if dir == "." || j.dirs[dir] {
		return nil
	}
	if err := j.parents(path.Dir(dir)); err != nil {
		return err
	}
	j.dirs[dir] = true
	return j.take(dir, &archive.Member{Name: dir, Kind: efs.KindDir, Modified: timeOfNothing}, nil)
}

// findOrphans reads the trailers of all contents.
func (j *job) findOrphans(ctx context.Context) (map[efs.ID]*orphan, error) {
	found := map[efs.ID]*orphan{}
	err := j.blobs.walk(ctx, func(id efs.ID) error {
		t, size, err := j.trailer(id)
		switch {
		case errors.Is(err, efs.ErrForgotten):
			j.rep.Forgotten++
			return nil
		case err != nil:
			if j.records == nil { // else an entry that refers to it has told of it
				j.missing(Missing{Path: "content " + id.String(), Why: why(err)})
			}
			return nil
		}
		known, err := j.knows(ctx, id, &t.Recovery)
		if err != nil || known {
			return err
		}
		add(found, id, size, t)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading what contents tell of: %w", err)
	}
	return found, nil
}

// trailer opens the end of a content.
func (j *job) trailer(id efs.ID) (*seal.Trailer, int64, error) {
	b, err := j.blobs.open(id)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = b.Close() }() // only read
	r, err := seal.NewReaderAt(b, b.size, &seal.Open{FS: j.keys.ID, Content: id, Identities: j.ids, Size: b.size, PlainSize: -1})
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = r.Close() }()
	t, err := r.Trailer()
	return t, b.size, err
}

// knows reports whether the tree has this content, or a version that is not
// older.
func (j *job) knows(ctx context.Context, id efs.ID, t *seal.Recovery) (bool, error) {
	if j.records == nil {
		return false, nil
	}
	file := efs.ID(t.File)
	recs, err := j.records.Get(ctx, efs.Key{Space: efs.SpaceContents, Bytes: id[:]})
	if err != nil {
		return false, err
	}
	if recs[0].Version != 0 { // its trailer names another file
		if file, err = j.contentFile(id, recs[0].Sealed); err != nil {
			return false, ignoreDamage(err)
		}
	}
	e, err := j.entryOf(ctx, file)
	if err != nil || e == nil {
		return errors.Is(err, efs.ErrForgotten), ignoreDamage(err)
	}
	refers := slices.ContainsFunc(e.Extents, func(x efs.Extent) bool { return x.Content == id })
	if !refers && t.Version == 0 && t.Extents == 0 {
		// A part of an upload tells no version. Where the contents of the one that
		// the tree has are gone, it may be of the one that replaced it.
		return !j.isGone(e), nil
	}
	return refers || e.Version >= t.Version, nil
}

// isGone reports whether a content of a file is not there.
func (j *job) isGone(e *efs.Entry) bool {
	return slices.ContainsFunc(e.Extents, func(x efs.Extent) bool {
		if x.Inline {
			return false
		}
		b, err := j.blobs.open(x.Content)
		if err == nil {
			_ = b.Close() // was not read
		}
		return errors.Is(err, efs.ErrNotFound)
	})
}

// ignoreDamage: what is damaged is not known, and no reason to end.
func ignoreDamage(err error) error {
	if errors.Is(err, efs.ErrDamaged) || errors.Is(err, efs.ErrForgotten) {
		return nil
	}
	return err
}

// add takes a content up, unless a newer version of its file is known.
func add(found map[efs.ID]*orphan, id efs.ID, size int64, t *seal.Trailer) {
	r := &t.Recovery
	file := efs.ID(r.File)
	if file.IsZero() {
		file = id
	}
	f := found[file]
	if f != nil && f.entry.Version > r.Version {
		return
	}
	if f == nil || f.entry.Version < r.Version {
		f = &orphan{path: r.Path, extents: map[int]efs.Extent{}, open: r.Extents == 0, entry: efs.Entry{
			File: file, Kind: efs.KindFile, Version: r.Version, Created: r.Created, Modified: r.Modified,
			Type: r.Type, Meta: r.Meta, Owner: r.Owner, Mode: r.Mode,
		}}
		found[file] = f
	}
	f.of = max(f.of, r.Extents, r.Extent+1)
	f.extents[r.Extent] = efs.Extent{Length: t.Size, Sealed: size, Content: id}
	if r.Extents == 1 && t.HasDigest {
		f.entry.Digest = slices.Clone(t.SHA256[:])
		f.entry.DigestKind = efs.DigestFull
	}
}

// timeOfNothing is that of directories that nothing tells of.
var timeOfNothing = time.Unix(0, 0)
