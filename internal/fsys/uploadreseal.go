package fsys

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/efs-project/efs"
)

// resealUploads seals the parts of uploads anew that a job finds in need. It
// comes before the entries in each pass: what is completed meanwhile is found
// there.
func (fs *FS) resealUploads(ctx context.Context, j *job, limit *throttle) error {
	return fs.scan(ctx, efs.SpaceUploads, nil, scanPage, func(r *efs.Record) error {
		if j.canceled() {
			return errCanceled
		}
		id, n, err := splitUploadKey(r.Key)
		if err != nil || n == 0 {
			return nil // fsck tells
		}
		part, err := fs.openUploadPart(n, r)
		if isForgotten(err) || errors.Is(err, efs.ErrDamaged) {
			return nil
		}
		if err != nil {
			return err
		}
		need, err := fs.extentInNeed(ctx, j, &part.Extent)
		if err == nil && need {
			j.update(func(r *jobRecord) { r.Found++ })
			err = fs.resealUploadPart(ctx, j, limit, id, part)
		}
		switch {
		case errors.Is(err, efs.ErrDamaged), errors.Is(err, efs.ErrNotFound):
			return fs.tolerateUpload(ctx, j, r, err)
		case errors.Is(err, efs.ErrConflict), isForgotten(err):
			return nil // the next pass sees
		}
		return err
	})
}

// tolerateUpload drops an upload of which a part is damaged, if it still is: it
// can never be completed.
func (fs *FS) tolerateUpload(ctx context.Context, j *job, r *efs.Record, cause error) error {
	now, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceUploads, Bytes: r.Key})
	if err != nil || now[0].Version != r.Version {
		return err
	}
	id := efs.ID(r.Key[:16])
	fs.log.Error("a part of an upload cannot be read; the upload is dropped", "job", j.rec.ID.String(), "upload", id.String(), "error", cause)
	return fs.dropUpload(ctx, id)
}

// resealUploadPart puts a content sealed anew in place of a part's.
func (fs *FS) resealUploadPart(ctx context.Context, j *job, limit *throttle, id efs.ID, part *leasedPart) error {
	up, err := fs.readUpload(ctx, id)
	if err != nil {
		return err
	}
	x := part.Extent
	f, err := fs.openFile(ctx, &efs.Entry{
		File: up.File, Kind: efs.KindFile, Size: x.Length, Digest: part.SHA256, DigestKind: efs.DigestFull, Extents: []efs.Extent{x},
	})
	if err != nil {
		return err
	}
	defer f.Close()
	how, err := fs.sealing(up.unit, efs.NewID())
	if err != nil {
		return err
	}
	info, err := fs.resealBlob(ctx, limit, f, &f.parts[0], how, up.recovery(part.number))
	if err != nil {
		return err
	}
	s := swap{old: x, new: how.extent(info, false)}
	err = retry(func() error { return fs.swapPart(ctx, id, part.number, &s) })
	if errors.Is(err, efs.ErrStopped) {
		return err // the index may have it: the next start finds out
	}
	if err != nil {
		fs.discard(ctx, []swap{s})
		return err
	}
	fs.contents.end(s.new.Content)
	fs.work.settleLater(s.new.Content)
	j.update(func(r *jobRecord) { r.Files, r.Bytes = r.Files+1, r.Bytes+x.Length })
	return nil
}

// errOtherPart says that a part is another by now.
var errOtherPart = fmt.Errorf("%w: the part was replaced", efs.ErrNotFound)

func (fs *FS) swapPart(ctx context.Context, id efs.ID, number int, s *swap) error {
	up, err := fs.readUpload(ctx, id)
	if err != nil {
		return err
	}
	part, err := fs.uploadPart(ctx, id, number)
	if err != nil {
		return err
	}
	if part == nil || !bytes.Equal(part.Extent.Content[:], s.old.Content[:]) {
		return errOtherPart
	}
	part.Extent = s.new
	t := fs.begin(Who{})
	t.t.Release = append(t.t.Release, efs.Release{Content: s.old.Content, Inline: s.old.Inline})
	t.writePart(up, part)
	t.putUpload(up)
	_, err = t.commit(ctx)
	return err
}
