package fsys

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/ctxio"
)

// CompleteUpload makes the file of the parts that o names, in place of what was
// at its path, in one transaction; the upload is gone then. The file's digest is
// full if its parts came in order, if it has only one, or if o gives one to be
// checked; then, if they did not come in order, all of it is read. Else it is
// composite: SHA-256 over the digests of the parts.
//
// ErrParts if a part is not there, or has another digest than o says;
// efs.ErrNotFound, and the errors of Put.
func (fs *FS) CompleteUpload(ctx context.Context, id efs.ID, o CompleteOptions) (_ PutResult, err error) {
	ctx, span := fs.o.Tracer.Step(ctx, "fsys.CompleteUpload")
	defer func() { span.EndWith(err) }()
	up, err := fs.ownUpload(ctx, id, o.Who)
	if err != nil {
		return PutResult{}, err
	}
	c := &completion{fs: fs, up: up, o: &o}
	if err := c.plan(ctx); err != nil {
		return PutResult{}, err
	}
	return c.run(ctx)
}

// completion is an upload that is being completed.
type completion struct {
	fs   *FS
	up   *leased
	o    *CompleteOptions
	all  []leasedPart
	used map[int]bool // numbers of the parts that the file is made of
	file efs.Entry    // what the entry gets from them
}

// plan puts the contents of the file together.
func (c *completion) plan(ctx context.Context) (err error) {
	if c.all, err = c.fs.uploadParts(ctx, c.up.id); err != nil {
		return err
	}
	if len(c.o.Parts) == 0 {
		return fmt.Errorf("%w: none is named", ErrParts)
	}
	c.used = map[int]bool{}
	digests := sha256.New()
	last := 0
	for i := range c.o.Parts {
		want := &c.o.Parts[i]
		n, ok := slices.BinarySearchFunc(c.all, want.Number, func(p leasedPart, n int) int { return p.number - n })
		switch {
		case want.Number <= last:
			return fmt.Errorf("%w: part %d does not follow part %d: name them in order of their numbers", ErrParts, want.Number, last)
		case !ok:
			return fmt.Errorf("%w: part %d is not there: send it", ErrParts, want.Number)
		case !bytes.Equal(c.all[n].SHA256, want.SHA256):
			return fmt.Errorf("%w: part %d has another digest: send it again", ErrParts, want.Number)
		}
		if err := c.add(ctx, &c.all[n]); err != nil {
			return err
		}
		digests.Write(want.SHA256)
		last = want.Number
	}
	c.file.File, c.file.Kind = c.up.File, efs.KindFile
	return c.digest(ctx, digests)
}

// add appends a part to the file, if its content is there.
func (c *completion) add(ctx context.Context, p *leasedPart) error {
	x := p.Extent
	b, err := c.fs.o.Blobs.Open(ctx, x.Content)
	if errors.Is(err, efs.ErrNotFound) {
		return fmt.Errorf("%w: the content of part %d is lost: send it again", ErrParts, p.number)
	}
	if err != nil {
		return fmt.Errorf("content %s: %w", x.Content, err)
	}
	size := b.Size()
	if err := b.Close(); err != nil {
		return err
	}
	if size != x.Sealed {
		return fmt.Errorf("content %s: %w: its length is %d, not %d", x.Content, efs.ErrDamaged, size, x.Sealed)
	}
	x.Offset = c.file.Size
	c.file.Size += x.Length
	c.file.Extents = append(c.file.Extents, x)
	c.used[p.number] = true
	return nil
}

// digest finds out the digest of the file.
func (c *completion) digest(ctx context.Context, composite hash.Hash) error {
	e, parts := &c.file, c.o.Parts
	inOrder := c.up.Hashed == len(parts) && parts[len(parts)-1].Number == len(parts)
	e.DigestKind = efs.DigestFull
	switch {
	case len(parts) == 1:
		e.Digest = parts[0].SHA256
	case inOrder:
		h := sha256.New()
		if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(c.up.Hash); err != nil {
			return fmt.Errorf("upload %s: %w: the state of its digest: %w", c.up.id, efs.ErrDamaged, err)
		}
		e.Digest = h.Sum(nil)
	case c.o.SHA256 != nil:
		h := sha256.New()
		if err := c.read(ctx, func(f *File) error { return f.WriteRange(ctxio.NewWriter(ctx, h), 0, -1) }); err != nil {
			return err
		}
		e.Digest = h.Sum(nil)
	default:
		e.Digest, e.DigestKind = composite.Sum(nil), efs.DigestComposite
	}
	judge := put{o: PutOptions{SHA256: c.o.SHA256}}
	return judge.checkDigest(e.Digest)
}

// read opens the file that the parts are to make.
func (c *completion) read(ctx context.Context, do func(*File) error) error {
	f, err := c.fs.openFile(ctx, &efs.Entry{File: c.file.File, Kind: efs.KindFile, Size: c.file.Size, Extents: c.file.Extents})
	if errors.Is(err, efs.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrParts, err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return do(f)
}

// run commits the file. If its path belongs to another erasure unit by now, all
// of it is sealed anew for that.
func (c *completion) run(ctx context.Context) (PutResult, error) {
	segs, err := parseFile(c.up.Path)
	if err != nil {
		return PutResult{}, err
	}
	up := c.up
	p := &put{fs: c.fs, segs: segs, o: PutOptions{
		Who: c.o.Who, Cond: c.o.Cond, Type: up.Type, Meta: up.Meta, Mode: up.Mode, Size: c.file.Size,
	}}
	if up.Modified != 0 {
		p.o.Modified = time.UnixMicro(up.Modified)
	}
	p.units.fs = c.fs
	defer func() { p.units.end(ctx) }()
	err = retry(func() error { return c.commit(ctx, p) })
	if errors.Is(err, errOtherUnit) {
		err = c.anew(ctx, p)
	}
	if err == nil {
		c.fs.uploads.leave(up.id)
	}
	return p.res, err
}

func (c *completion) commit(ctx context.Context, p *put) error {
	now, err := c.fs.ownUpload(ctx, c.up.id, c.o.Who)
	if err != nil {
		return err
	}
	if now.version != c.up.version {
		return fmt.Errorf("%w: one came while the upload was completed: look which are there, and complete it again", ErrParts)
	}
	s, err := p.locate(ctx)
	if err != nil {
		return err
	}
	t, u, err := p.begin(ctx, s)
	if err != nil {
		return err
	}
	if u.id() != c.up.unit.id() {
		return errOtherUnit
	}
	e := p.entry(s, t)
	if s.entry == nil {
		if e.File, err = t.free(ctx, c.up.File, e.File); err != nil {
			return err
		}
	}
	e.Size, e.Digest, e.DigestKind, e.Extents = c.file.Size, c.file.Digest, c.file.DigestKind, c.file.Extents
	t.endUpload(c.up, c.all, func(part *leasedPart) bool { return c.used[part.number] })
	for i := range c.all {
		id := c.all[i].Extent.Content
		switch {
		case !c.used[c.all[i].number]:
		case e.File == c.up.File:
			t.delete(efs.SpaceContents, id[:])
		default:
			t.putIn(u, efs.SpaceContents, id[:], content{File: e.File})
		}
	}
	return p.commit(ctx, s, t, e)
}

// free returns the file id wanted if no file has it, which the transaction then
// demands, else other: the file that was at the path when the upload began may
// have been moved.
func (t *txn) free(ctx context.Context, wanted, other efs.ID) (efs.ID, error) {
	key := efs.Key{Space: efs.SpaceFiles, Bytes: wanted[:]}
	recs, err := t.fs.o.Index.Get(ctx, key)
	if err != nil || recs[0].Version != 0 {
		return other, err
	}
	t.t.Checks = append(t.t.Checks, efs.Check{Kind: efs.CheckVersion, Key: key})
	return wanted, nil
}

// anew stores the file sealed anew, and drops the upload after that.
func (c *completion) anew(ctx context.Context, p *put) error {
	p.o.SHA256 = nil
	if c.file.DigestKind == efs.DigestFull {
		p.o.SHA256 = c.file.Digest
	}
	err := c.read(ctx, func(f *File) error {
		return p.large(ctx, io.NewSectionReader(f, 0, c.file.Size))
	})
	if err != nil {
		return err
	}
	c.fs.report("dropping an upload that was completed", c.fs.dropUpload(context.WithoutCancel(ctx), c.up.id))
	return nil
}

// endUpload deletes an upload, if it is still the one that was read, with its
// parts. The contents of those that are not kept are released.
func (t *txn) endUpload(up *leased, parts []leasedPart, kept func(*leasedPart) bool) {
	key := uploadKey(up.id)
	t.t.Checks = append(t.t.Checks, efs.Check{Kind: efs.CheckVersion, Key: key, Version: up.version})
	t.delete(key.Space, key.Bytes)
	for i := range parts {
		part := &parts[i]
		t.delete(efs.SpaceUploads, partKey(up.id, part.number).Bytes)
		if kept(part) {
			t.letGo(up.User, part)
		} else {
			t.dropPart(up, part)
		}
	}
}
