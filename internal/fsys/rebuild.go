package fsys

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/efs-project/efs"
)

// RecoveredDir is the directory of contents that only their trailers know.
const RecoveredDir = "recovered"

// rebuildPaths is how many paths a report names.
const rebuildPaths = 1000

// RebuildReport tells what became of an index that was made anew.
type RebuildReport struct {
	Files     int64    `json:"files"`               // that the journal knew
	Bytes     int64    `json:"bytes"`               // in them
	Recovered []string `json:"recovered,omitempty"` // where contents that it did not know are now; the first thousand
	Gone      []string `json:"gone,omitempty"`      // files whose contents are gone: they were deleted or replaced later; the first thousand
	Partly    []string `json:"partly,omitempty"`    // files of which a part of the contents is gone, and which stay as they are; the first thousand
	Unopened  []string `json:"unopened,omitempty"`  // contents that stay where they are: nothing can be told of them, or they have no place

	Uploads []string `json:"uploads,omitempty"` // where uploads in parts lead that were open; one that was completed later is to be completed again

	RecoveredFiles int64 `json:"recovered_files"`
	GoneFiles      int64 `json:"gone_files"`
	PartlyFiles    int64 `json:"partly_files"`
	Superseded     int64 `json:"superseded"` // contents of versions that were replaced: to be deleted
	Resealed       int64 `json:"resealed"`   // contents that were sealed anew later, and found

	Mended int64 `json:"mended,omitempty"` // records of the tree that were lost with a part of the journal, and made anew
}

// Rebuild makes a file system of an index that was made from a journal, and of
// the contents that are there: it looks at every content on the volume and at
// every entry, so that afterwards each leads to the other. The index is not in
// use; nothing is deleted from the volume. After a failure it is begun again, with an
// index made anew.
//
// lossy says that a part of the journal is lost in the middle, so that records
// may not lead to each other: what is lost of the tree is made anew as far as the
// rest tells of it.
//
// progress, which may be nil, is told of contents looked at.
func Rebuild(ctx context.Context, o Options, lossy bool, progress func(done, total int64)) (*RebuildReport, error) {
	o.Audit, o.Cache, o.Anchor = nil, nil, nil
	fs, err := assemble(o)
	if err != nil {
		return nil, err
	}
	defer fs.work.cancel()
	if err := fs.readBasics(ctx, lossy); err != nil {
		return nil, err
	}
	r := &rebuild{fs: fs, ctx: ctx, users: map[string]efs.Usage{}, missing: map[efs.ID]bool{}, report: &RebuildReport{}, lossy: lossy, progress: progress}
	for _, step := range []func() error{r.reattach, r.volume, r.entries, r.queue, r.tally, r.uploads, r.count, r.strangers, r.smallStrangers, r.adopt, r.gone} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("making file system '%s' anew: %w", o.Name, err)
		}
	}
	return r.report, fs.spareUnits(ctx)
}

// readBasics reads the root, the policy and the quotas, whose bounds do not hold
// for what is found again.
func (fs *FS) readBasics(ctx context.Context, lossy bool) error {
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpacePlaces, Bytes: fs.o.ID[:]})
	if err != nil {
		return err
	}
	if recs[0].Version == 0 && !lossy {
		return fmt.Errorf("file system '%s': %w: the journal has no root", fs.o.Name, efs.ErrDamaged)
	}
	policy, err := fs.newestPolicy(ctx)
	if err != nil {
		return err
	}
	fs.policy.Store(&policy)
	if recs[0].Version == 0 {
		t := fs.begin(Who{})
		t.put(efs.SpacePlaces, fs.o.ID[:], place{Created: t.now})
		if _, err := t.commit(ctx); err != nil {
			return err
		}
	}
	if err := fs.loadQuotas(ctx); err != nil {
		return err
	}
	q := fs.quotas.Load().clone()
	q.whole.MaxBytes, q.whole.MaxFiles = 0, 0
	for name, u := range q.users {
		free := *u
		free.MaxBytes, free.MaxFiles = math.MaxInt64, math.MaxInt64
		q.users[name] = &free
	}
	fs.quotas.Store(q)
	return nil
}

// rebuild is one under way.
type rebuild struct {
	fs       *FS
	ctx      context.Context
	report   *RebuildReport
	lossy    bool
	progress func(done, total int64)

	blobs []efs.ID // on the volume, sorted
	known []bool   // an entry or the queue has it
	use   efs.Usage
	users map[string]efs.Usage

	missing map[efs.ID]bool // files of which a content is not there; whether another one is
	found   []stranger
}

// volume lists the contents on the volume.
func (r *rebuild) volume() error {
	err := r.fs.o.Blobs.Walk(r.ctx, func(b efs.BlobInfo) error {
		r.blobs = append(r.blobs, b.ID)
		return nil
	})
	slices.SortFunc(r.blobs, compareID)
	r.blobs = slices.Compact(r.blobs)
	r.known = make([]bool, len(r.blobs))
	return err
}

// isThere reports whether a content is on the volume.
func (r *rebuild) isThere(id efs.ID) bool {
	_, ok := slices.BinarySearchFunc(r.blobs, id, compareID)
	return ok
}

// isMissing reports whether a content of a file is not there.
func (r *rebuild) isMissing(file efs.ID) bool {
	_, missing := r.missing[file]
	return missing
}

// know notes that something refers to a content.
func (r *rebuild) know(id efs.ID) {
	if i, ok := slices.BinarySearchFunc(r.blobs, id, compareID); ok {
		r.known[i] = true
	}
}

// entries notes what entries refer to, and what is in use. Records of forgotten
// units are left to fsck.
func (r *rebuild) entries() error {
	return r.fs.scan(r.ctx, efs.SpaceEntries, nil, scanPage, func(rec *efs.Record) error {
		e, err := r.fs.openEntry(rec.Key, rec.Sealed)
		if isForgotten(err) || errors.Is(err, efs.ErrDamaged) {
			return nil
		}
		if err != nil || e.Kind == efs.KindDir {
			return err
		}
		r.use = efs.Usage{Bytes: r.use.Bytes + e.Size, Files: r.use.Files + 1}
		u := r.users[e.Owner]
		r.users[e.Owner] = efs.Usage{Bytes: u.Bytes + e.Size, Files: u.Files + 1}
		there := 0
		for _, x := range e.Extents {
			if x.Inline {
				there++
				continue
			}
			if r.know(x.Content); r.isThere(x.Content) {
				there++
			}
		}
		if there < len(e.Extents) {
			r.missing[e.File] = there > 0
		}
		return nil
	})
}

// queue notes what waits to be deleted.
func (r *rebuild) queue() error {
	return r.fs.queued(r.ctx, func(q efs.Release) error {
		r.know(q.Content)
		return nil
	})
}

// tally tells how much the journal knew.
func (r *rebuild) tally() error {
	r.report.Files, r.report.Bytes = r.use.Files, r.use.Bytes
	return nil
}

// count sets what accounts have in use: a journal does not hold it.
func (r *rebuild) count() error {
	t := efs.Txn{Usage: []efs.Delta{{Account: r.fs.o.ID, Bytes: r.use.Bytes, Files: r.use.Files}}}
	for name, q := range r.fs.quotas.Load().users {
		if use := r.users[name]; q.Counted && use != (efs.Usage{}) {
			t.Usage = append(t.Usage, efs.Delta{Account: q.Account, Bytes: use.Bytes, Files: use.Files})
		}
	}
	_, err := r.fs.o.Index.Commit(r.ctx, &t)
	return err
}

// gone removes the files of which no content is there or was found elsewhere:
// they were deleted or replaced after the journal's end. Those that have a part
// left were perhaps damaged: it stays, and so do they.
func (r *rebuild) gone() error {
	for file, some := range r.missing {
		segs, err := r.fs.climb(r.ctx, file)
		if errors.Is(err, efs.ErrNotFound) {
			continue // in a directory that is being emptied
		}
		if err != nil {
			return err
		}
		path := join(segs)
		if some {
			if r.report.PartlyFiles++; r.report.PartlyFiles <= rebuildPaths {
				r.report.Partly = append(r.report.Partly, "/"+path)
			}
			continue
		}
		if err := r.fs.Remove(r.ctx, path, RemoveOptions{}); err != nil {
			return fmt.Errorf("removing file %s, whose contents are gone: %w", file, err)
		}
		if r.report.GoneFiles++; r.report.GoneFiles <= rebuildPaths {
			r.report.Gone = append(r.report.Gone, "/"+path)
		}
	}
	slices.Sort(r.report.Gone)
	slices.Sort(r.report.Partly)
	return nil
}

// toDelete has a content deleted after the file system is opened.
func (r *rebuild) toDelete(id efs.ID) error {
	r.report.Superseded++
	_, err := r.fs.o.Index.Commit(r.ctx, &efs.Txn{Release: []efs.Release{{Content: id}}})
	return err
}
