package fsys

import (
	"errors"
	"fmt"
	"slices"

	"github.com/efs-project/efs"
)

// hanging is where a directory hangs.
type hanging struct{ dir, parent efs.ID }

// places checks that every place has a parent and an entry there, and that
// from every directory the way up leads to the root or to a directory that was
// deleted with all below it.
func (c *checker) places() error {
	var all []hanging
	err := c.fs.scan(c.ctx, efs.SpacePlaces, nil, scanPage, func(r *efs.Record) error {
		id, err := keyID(r.Key)
		if err == nil && id == c.fs.o.ID {
			return nil
		}
		var p place
		if err == nil {
			err = c.fs.open(efs.SpacePlaces, r.Key, r.Sealed, &p)
		}
		if err == nil {
			all = append(all, hanging{id, p.Parent})
			err = c.hasEntry(id, &p)
		}
		if isForgotten(err) {
			c.leftRecord(efs.SpacePlaces, r)
			return nil
		}
		if !errors.Is(err, efs.ErrDamaged) {
			return err
		}
		return c.ifStill(efs.SpacePlaces, r, Problem{Kind: ProblemPlace, ID: fmt.Sprintf("%x", r.Key),
			Detail: err.Error(), Remedy: "restore the index from a backup"})
	})
	if err != nil {
		return err
	}
	return c.ways(all)
}

// hasEntry checks that a directory's parent has an entry for it.
func (c *checker) hasEntry(id efs.ID, p *place) error {
	key, err := c.keyOf(p.Parent, p.Name)
	if err != nil {
		return err
	}
	recs, err := c.fs.o.Index.Get(c.ctx, efs.Key{Space: efs.SpaceEntries, Bytes: key[:]})
	if err != nil {
		return err
	}
	if recs[0].Version != 0 {
		e, err := c.fs.openEntry(key[:], recs[0].Sealed)
		if err == nil && e.File == id {
			return nil
		}
	}
	return fmt.Errorf("%w: no entry leads to the directory", efs.ErrDamaged)
}

// ifStill reports p unless the record has changed since.
func (c *checker) ifStill(space efs.Space, r *efs.Record, p Problem) error {
	now, err := c.fs.o.Index.Get(c.ctx, efs.Key{Space: space, Bytes: r.Key})
	if err == nil && now[0].Version == r.Version {
		c.found(p)
	}
	return err
}

// ways follows every directory up to its end. Each is visited once.
func (c *checker) ways(all []hanging) error {
	slices.SortFunc(all, func(a, b hanging) int { return compareID(a.dir, b.dir) })
	state := make([]byte, len(all)) // 0: not visited, 1: on the present way, 2: ends well
	for i := range all {
		var way []int
		at, id, ok := i, all[i].dir, true
		for ok && state[at] == 0 {
			state[at] = 1
			way = append(way, at)
			id = all[at].parent
			at, ok = slices.BinarySearchFunc(all, id, func(h hanging, id efs.ID) int { return compareID(h.dir, id) })
		}
		circle := ok && state[at] == 1
		for _, n := range way {
			state[n] = 2
		}
		if err := c.endOfWay(all[i].dir, id, circle, ok); err != nil {
			return err
		}
	}
	return nil
}

// endOfWay judges where the way up from dir ended.
func (c *checker) endOfWay(dir, end efs.ID, circle, known bool) error {
	if circle {
		c.found(Problem{Kind: ProblemPlace, ID: dir.String(), Detail: "the directory hangs in a circle",
			Remedy: "restore the index from a backup"})
		return nil
	}
	if known || end == c.fs.o.ID {
		return nil
	}
	gone, err := c.isDetached(end)
	if err != nil || gone {
		return err
	}
	p, _, err := c.fs.place(c.ctx, dir) // deleted or moved meanwhile?
	if err != nil || p == nil {
		return err
	}
	if _, err := c.fs.climb(c.ctx, dir); err == nil {
		return nil
	}
	c.found(Problem{Kind: ProblemStray, ID: dir.String(), Detail: "the directory hangs in one that does not exist",
		Remedy: "restore the index from a backup"})
	return nil
}

// isDetached reports whether a directory is to be emptied.
func (c *checker) isDetached(dir efs.ID) (bool, error) {
	recs, err := c.fs.o.Index.Get(c.ctx, efs.Key{Space: efs.SpaceMeta, Bytes: detachedKey(dir)})
	if err != nil || recs[0].Version != 0 {
		return err == nil, err
	}
	found := false
	err = c.fs.scan(c.ctx, efs.SpaceMeta, []byte{metaForget}, scanPage, func(r *efs.Record) error {
		var job forgetting
		err := c.fs.open(efs.SpaceMeta, r.Key, r.Sealed, &job)
		found = found || err == nil && job.Dir == dir
		return err
	})
	return found, err
}

// inlines checks that something refers to every inline content.
func (c *checker) inlines() error {
	const page = 200 // of up to the inline limit each
	return c.fs.scan(c.ctx, efs.SpaceInline, nil, page, func(r *efs.Record) error {
		id, err := keyID(r.Key)
		if err != nil {
			c.found(Problem{Kind: ProblemInline, ID: fmt.Sprintf("%x", r.Key), Detail: err.Error(), Remedy: "restore the index from a backup"})
			return nil
		}
		if _, ok := slices.BinarySearchFunc(c.inline, id, compareID); ok {
			return nil
		}
		known, err := c.inlineInUse(id, r.Sealed)
		if isForgotten(err) {
			return c.leftInline(id, r)
		}
		if err != nil || known {
			return err
		}
		return c.ifStill(efs.SpaceInline, r, Problem{Kind: ProblemInline, ID: id.String(), Detail: "no file refers to this inline content",
			Remedy: "nothing is lost by it; if there are many, restore the index from a backup"})
	})
}

// inlineInUse looks for a file or a queue entry that came to refer to an
// inline content after the entries were read.
func (c *checker) inlineInUse(id efs.ID, sealed []byte) (bool, error) {
	file, err := c.fs.inlineOwner(id, sealed)
	if err != nil && !errors.Is(err, efs.ErrDamaged) {
		return false, err
	}
	if err == nil {
		e, err := c.fs.byFile(c.ctx, file)
		if err != nil && !errors.Is(err, efs.ErrDamaged) {
			return false, err
		}
		if e != nil && refersTo(e.Entry, id) {
			return true, nil
		}
	}
	return c.fs.isQueued(c.ctx, id)
}

// blobs checks that something refers to every blob.
func (c *checker) blobs() error {
	select { // what start-up is about to remove is no orphan
	case <-c.fs.work.begun:
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
	err := c.fs.queued(c.ctx, func(efs.Release) error {
		c.report.Queued++
		return nil
	})
	if err != nil {
		return err
	}
	return c.fs.o.Blobs.Walk(c.ctx, func(b efs.BlobInfo) error {
		if _, ok := slices.BinarySearchFunc(c.blob, b.ID, compareID); ok {
			return nil
		}
		claim, err := c.fs.claimed(c.ctx, b.ID)
		switch {
		case isForgotten(err):
			return c.leftBlob(b.ID)
		case errors.Is(err, efs.ErrDamaged):
			return c.undecided(b.ID, err)
		case err != nil:
			return err
		case claim == unclaimed:
			return c.orphan(b)
		}
		return nil
	})
}

// undecided reports a blob that does not say what it belongs to, if it is not
// in use: all entries were read before.
func (c *checker) undecided(id efs.ID, cause error) error {
	queued, err := c.fs.isQueued(c.ctx, id)
	if err != nil || queued {
		return err
	}
	c.found(Problem{Kind: ProblemUndecided, ID: id.String(), Detail: "no file refers to this content, and it does not open: " + cause.Error(),
		Remedy: "if it is foreign to this file system, delete it; else keep it until all files were checked"})
	return nil
}

// orphan reports a blob that belongs to nothing, and quarantines it where that
// was asked for, after another look: it can only have gone away meanwhile, as
// blobs belong to something from before they are stored.
func (c *checker) orphan(b efs.BlobInfo) error {
	again, err := c.fs.claimed(c.ctx, b.ID)
	if err != nil || again != unclaimed {
		return err
	}
	if blob, err := c.fs.o.Blobs.Open(c.ctx, b.ID); err != nil {
		if errors.Is(err, efs.ErrNotFound) {
			return nil
		}
		return err
	} else if err := blob.Close(); err != nil {
		return err
	}
	p := Problem{Kind: ProblemOrphan, ID: b.ID.String(), Detail: fmt.Sprintf("no file refers to this content of %d bytes", b.Size),
		Remedy: "run fsck with --repair: it is kept in quarantine for seven days"}
	if c.o.Repair {
		if err := c.fs.o.Blobs.Quarantine(c.ctx, b.ID); err != nil {
			return fmt.Errorf("content %s: %w", b.ID, err)
		}
		p.Repaired = true
	}
	c.found(p)
	return nil
}
