package fsys

import (
	"errors"
	"fmt"
	"slices"

	"github.com/efs-project/efs"
)

// ProblemUpload is an upload in parts that can never be completed: a record
// does not open, or a part's content is missing or cut off.
const ProblemUpload = "upload"

// uploads checks the uploads that are open, and counts what they use.
func (c *checker) uploads() error {
	err := c.fs.scan(c.ctx, efs.SpaceUploads, nil, scanPage, func(r *efs.Record) error {
		err := c.upload(r)
		if isForgotten(err) {
			c.leftRecord(efs.SpaceUploads, r)
			return nil
		}
		if errors.Is(err, efs.ErrDamaged) || errors.Is(err, efs.ErrNotFound) {
			return c.uploadBroken(r, err)
		}
		return err
	})
	slices.SortFunc(c.blob, compareID)
	return err
}

// upload checks a record of an upload or of a part.
func (c *checker) upload(r *efs.Record) error {
	id, n, err := splitUploadKey(r.Key)
	if err != nil {
		return err
	}
	if n == 0 {
		_, err := c.fs.openUpload(id, r)
		return err
	}
	part, err := c.fs.openUploadPart(n, r)
	if err != nil {
		return err
	}
	up, err := c.fs.readUpload(c.ctx, id)
	if err != nil {
		return err
	}
	c.blob = append(c.blob, part.Extent.Content)
	c.used.Bytes += part.Extent.Length
	if q := c.fs.quotas.Load(); q.users != nil && q.users[up.User] != nil && q.users[up.User].Account == part.Account {
		sum := c.users[up.User]
		sum.Bytes += part.Extent.Length
		c.users[up.User] = sum
	}
	f, err := c.fs.openFile(c.ctx, &efs.Entry{
		File: up.File, Kind: efs.KindFile, Size: part.Extent.Length, Digest: part.SHA256, DigestKind: efs.DigestFull, Extents: []efs.Extent{part.Extent},
	})
	if err != nil {
		return err
	}
	defer f.Close()
	if c.o.Deep {
		return f.verify()
	}
	return nil
}

// uploadBroken reports what is wrong with a record of an upload, unless it has
// changed since, and drops the upload where repair was asked for.
func (c *checker) uploadBroken(r *efs.Record, cause error) error {
	now, err := c.fs.o.Index.Get(c.ctx, efs.Key{Space: efs.SpaceUploads, Bytes: r.Key})
	if err != nil || now[0].Version != r.Version {
		return err
	}
	p := Problem{Kind: ProblemUpload, ID: fmt.Sprintf("%x", r.Key), Detail: cause.Error(),
		Remedy: "it is an upload that was not completed: run fsck with --repair, which drops it, and upload the file again"}
	if c.o.Repair && len(r.Key) >= 16 {
		if err := c.fs.dropUpload(c.ctx, efs.ID(r.Key[:16])); err == nil {
			p.Repaired = true
		} else if !errors.Is(err, efs.ErrDamaged) {
			return err
		}
	}
	c.found(p)
	return nil
}
