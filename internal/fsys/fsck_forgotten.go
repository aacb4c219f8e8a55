package fsys

import (
	"errors"
	"fmt"

	"github.com/efs-project/efs"
)

// ProblemForgotten is what is left of erasure units that were forgotten: an
// index or contents from before were put back. Nothing opens it any more.
const ProblemForgotten = "forgotten"

// leftover is what a check found of forgotten units.
type leftover struct {
	records []efs.Check // each as it was found
	blobs   []efs.ID
	entries int
}

// leftRecord notes a record that belongs to a forgotten unit.
func (c *checker) leftRecord(space efs.Space, r *efs.Record) {
	c.left.records = append(c.left.records, efs.Check{Kind: efs.CheckVersion, Version: r.Version, Key: efs.Key{Space: space, Bytes: r.Key}})
	if space == efs.SpaceEntries {
		c.left.entries++
	}
}

// leftInline notes an inline content of a forgotten unit, unless it waits to be
// released.
func (c *checker) leftInline(id efs.ID, r *efs.Record) error {
	queued, err := c.fs.isQueued(c.ctx, id)
	if err == nil && !queued {
		c.leftRecord(efs.SpaceInline, r)
	}
	return err
}

// leftBlob notes a blob of a forgotten unit, unless it waits to be released.
func (c *checker) leftBlob(id efs.ID) error {
	queued, err := c.fs.isQueued(c.ctx, id)
	if err == nil && !queued {
		c.left.blobs = append(c.left.blobs, id)
	}
	return err
}

// leftNames notes the sorted names of a directory of a forgotten unit.
func (c *checker) leftNames(dir efs.ID) error {
	return c.fs.scan(c.ctx, efs.SpaceNames, dir[:], scanPage, func(r *efs.Record) error {
		c.leftRecord(efs.SpaceNames, r)
		return nil
	})
}

// unitRecords looks for records of units that were forgotten.
func (c *checker) unitRecords() error {
	return c.fs.scan(c.ctx, efs.SpaceMeta, []byte{metaUnit}, scanPage, func(r *efs.Record) error {
		var rec unitRecord
		err := c.fs.open(efs.SpaceMeta, r.Key, r.Sealed, &rec)
		if isForgotten(err) {
			c.leftRecord(efs.SpaceMeta, r)
			return nil
		}
		if errors.Is(err, efs.ErrDamaged) {
			return c.ifStill(efs.SpaceMeta, r, Problem{Kind: ProblemEntry, ID: fmt.Sprintf("%x", r.Key), Detail: "record of an erasure unit: " + err.Error(),
				Remedy: "restore the index from a backup"})
		}
		return err
	})
}

// forgotten reports what is left of forgotten units, as one problem, and
// deletes it where that was asked for.
func (c *checker) forgotten() error {
	if len(c.left.records)+len(c.left.blobs) == 0 {
		return nil
	}
	p := Problem{Kind: ProblemForgotten, Remedy: "run fsck with --repair: it deletes them; no key opens them any more",
		Detail: fmt.Sprintf("%d records, %d of them entries, and %d contents are left of erasure units that were forgotten: they are from before that",
			len(c.left.records), c.left.entries, len(c.left.blobs))}
	if c.o.Repair {
		if err := c.deleteLeft(); err != nil {
			return err
		}
		p.Repaired = true
	}
	c.found(p)
	return nil
}

// deleteLeft deletes what is left. What was written anew since stays.
func (c *checker) deleteLeft() error {
	for _, check := range c.left.records {
		t := efs.Txn{Checks: []efs.Check{check}, Mutations: []efs.Mutation{{Key: check.Key}}}
		if _, err := c.fs.o.Index.Commit(c.ctx, &t); err != nil && !errors.Is(err, efs.ErrConflict) {
			return fmt.Errorf("deleting what is left of forgotten units: %w", err)
		}
	}
	for _, id := range c.left.blobs {
		if err := c.fs.o.Blobs.Remove(c.ctx, id); err != nil {
			return fmt.Errorf("content %s: %w", id, err)
		}
		t := efs.Txn{Mutations: []efs.Mutation{{Key: efs.Key{Space: efs.SpaceContents, Bytes: id[:]}}}}
		if _, err := c.fs.o.Index.Commit(c.ctx, &t); err != nil {
			return fmt.Errorf("content %s: %w", id, err)
		}
	}
	return nil
}
