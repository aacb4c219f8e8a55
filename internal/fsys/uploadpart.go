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

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/ctxio"
	"github.com/efs-project/efs/seal"
)

// PutPart stores body as a part of an upload, in place of one of the same
// number, and returns when that is durable. The upload then lasts UploadTime
// again. Parts may come in any order and at the same time; those that come in
// order carry the digest of the whole file on.
//
// efs.ErrNotFound if there is no such upload, or it is another user's;
// efs.ErrBadInput, efs.ErrDigest, efs.ErrQuota, efs.ErrNoSpace, and what reading
// body returned.
func (fs *FS) PutPart(ctx context.Context, id efs.ID, number int, body io.Reader, o PartOptions) (_ UploadPart, err error) {
	ctx, span := fs.o.Tracer.Step(ctx, "fsys.PutPart")
	defer func() { span.EndWith(err) }()
	if number < 1 || number > MaxParts {
		return UploadPart{}, fmt.Errorf("%w: part %d: parts are numbered from 1 to %d", efs.ErrBadInput, number, MaxParts)
	}
	up, err := fs.ownUpload(ctx, id, o.Who)
	if err != nil {
		return UploadPart{}, err
	}
	// A part is no file more.
	if err := fs.affordable(ctx, o.User, &efs.Entry{Owner: o.User}, o.Size); err != nil {
		return UploadPart{}, err
	}
	p := &partPut{fs: fs, up: up, number: number, o: o}
	return p.run(ctx, body)
}

// partPut is the store of one part.
type partPut struct {
	fs     *FS
	up     *leased
	number int
	o      PartOptions
	before []byte    // state of the hash of all parts before
	hash   hash.Hash // that goes on with this part; nil: they were not all there
	how    *sealing
	info   seal.Info
}

func (p *partPut) run(ctx context.Context, body io.Reader) (UploadPart, error) {
	if err := p.carryOn(); err != nil {
		return UploadPart{}, err
	}
	id := efs.NewID()
	p.fs.contents.begin(id)
	defer p.fs.contents.end(id)
	err := p.blob(ctx, id, body)
	if err != nil {
		return UploadPart{}, err
	}
	var part leasedPart
	err = retry(func() error {
		part, err = p.commit(ctx)
		return err
	})
	switch {
	case errors.Is(err, efs.ErrStopped):
		return UploadPart{}, err // the index may have it: the next start finds out
	case err != nil || part.Extent.Content != id:
		p.fs.removeBlob(ctx, id)
	default:
		p.fs.work.settleLater(id)
	}
	if err != nil {
		return UploadPart{}, err
	}
	return part.public(), nil
}

// carryOn takes up the hash of the parts before this one, if they are all
// there.
func (p *partPut) carryOn() error {
	if p.up.Hashed != p.number-1 {
		return nil
	}
	p.before, p.hash = p.up.Hash, sha256.New()
	if p.number == 1 {
		return nil
	}
	if err := p.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(p.before); err != nil {
		return fmt.Errorf("upload %s: %w: the state of its digest: %w", p.up.id, efs.ErrDamaged, err)
	}
	return nil
}

// blob writes the body as blob id, durably.
func (p *partPut) blob(ctx context.Context, id efs.ID, body io.Reader) (err error) {
	if p.how, err = p.fs.sealing(p.up.unit, id); err != nil {
		return err
	}
	dst, err := p.fs.o.Blobs.Create(ctx, id)
	if err != nil {
		return fmt.Errorf("beginning a blob: %w", err)
	}
	if err := p.write(ctx, dst, body); err != nil {
		dst.Abort()
		return err
	}
	if err := dst.Commit(); err != nil {
		return fmt.Errorf("storing a blob: %w", err)
	}
	return nil
}

func (p *partPut) write(ctx context.Context, dst io.Writer, body io.Reader) error {
	w, err := seal.NewWriter(dst, &p.how.Params)
	if err != nil {
		return fmt.Errorf("sealing: %w", err)
	}
	defer w.Abort()
	if p.hash != nil {
		body = io.TeeReader(body, p.hash)
	}
	if _, err := w.ReadFrom(ctxio.NewReader(ctx, body)); err != nil {
		return fmt.Errorf("storing the body: %w", err)
	}
	size, sum := w.Sum()
	judge := put{o: PutOptions{Size: p.o.Size, SHA256: p.o.SHA256}}
	if err := judge.checkSize(size); err != nil {
		return err
	}
	if err := judge.checkDigest(sum[:]); err != nil {
		return err
	}
	if p.info, err = w.Close(p.up.recovery(p.number)); err != nil {
		return fmt.Errorf("sealing: %w", err)
	}
	return nil
}

// recovery is what the trailer of a part tells. Which version it will belong to
// and how many parts that has, nobody knows yet: they are 0.
func (up *leased) recovery(number int) seal.Recovery {
	return seal.Recovery{
		Path: up.Path, File: up.File, Extent: number - 1,
		Created: up.Began, Modified: up.Modified, Type: up.Type, Meta: up.Meta,
		Owner: up.User, Mode: up.Mode,
	}
}

// commit makes the blob a part of the upload. A part with the same contents
// stays: its sender missed the answer.
func (p *partPut) commit(ctx context.Context) (part leasedPart, err error) {
	up, err := p.fs.ownUpload(ctx, p.up.id, p.o.Who)
	if err != nil {
		return part, err
	}
	old, err := p.fs.uploadPart(ctx, up.id, p.number)
	if err != nil {
		return part, err
	}
	t := p.fs.begin(p.o.Who)
	up.Expires = t.now + UploadTime.Microseconds()
	part = leasedPart{number: p.number, partRecord: partRecord{SHA256: p.info.SHA256[:]}}
	if old != nil && old.Extent.Length == p.info.Size && bytes.Equal(old.SHA256, p.info.SHA256[:]) {
		part = *old
	} else {
		part.Extent = p.how.extent(p.info, false)
		p.carry(up)
		t.replacePart(up, old, &part)
	}
	t.putUpload(up)
	if _, err := t.commit(ctx); err != nil {
		return part, err
	}
	p.fs.uploads.renew(up.id, up.Expires)
	return part, nil
}

// carry notes in the upload how far the hash of the whole is.
func (p *partPut) carry(up *leased) {
	switch {
	case up.Hashed >= p.number:
		up.Hashed, up.Hash = -1, nil // a part that it covers is another now
	case p.hash != nil && up.Hashed == p.number-1 && bytes.Equal(up.Hash, p.before):
		state, err := p.hash.(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			return // then the digest will be composite
		}
		up.Hashed, up.Hash = p.number, state
	}
}

// uploadPart reads a part; nil if it is not there.
func (fs *FS) uploadPart(ctx context.Context, id efs.ID, number int) (*leasedPart, error) {
	recs, err := fs.o.Index.Get(ctx, partKey(id, number))
	if err != nil || recs[0].Version == 0 {
		return nil, err
	}
	recs[0].Key = partKey(id, number).Bytes
	return fs.openUploadPart(number, &recs[0])
}

// replacePart puts a part into the place of old, nil for none. Its content gets
// a record that leads back to it.
func (t *txn) replacePart(up *leased, old, part *leasedPart) {
	if old != nil {
		t.dropPart(up, old)
	}
	part.Account = t.hold(up.User, part.Extent.Length)
	t.writePart(up, part)
}

func (t *txn) writePart(up *leased, part *leasedPart) {
	key, id := partKey(up.id, part.number), part.Extent.Content
	t.putIn(up.unit, key.Space, key.Bytes, part.partRecord)
	t.putIn(up.unit, efs.SpaceContents, id[:], content{File: up.File, Upload: up.id, Part: part.number})
}

// dropPart releases the content of a part and what it uses.
func (t *txn) dropPart(up *leased, part *leasedPart) {
	t.t.Release = append(t.t.Release, efs.Release{Content: part.Extent.Content, Inline: part.Extent.Inline})
	t.letGo(up.User, part)
}
