package fsys

import (
	"errors"

	"github.com/efs-project/efs"
)

// uploads counts what uploads in parts use that are open, as the journal knows
// them. A part whose content is not there is dropped: it came again, or the upload
// was dropped, after the journal's end. Its sender is told to send it again.
func (r *rebuild) uploads() error {
	return r.fs.scan(r.ctx, efs.SpaceUploads, nil, scanPage, func(rec *efs.Record) error {
		id, n, err := splitUploadKey(rec.Key)
		if err != nil {
			return nil // fsck tells of what is damaged
		}
		if n == 0 {
			return r.openUpload(id)
		}
		part, err := r.fs.openUploadPart(n, rec)
		if isForgotten(err) || errors.Is(err, efs.ErrDamaged) {
			return nil
		}
		if err != nil {
			return err
		}
		up, err := r.fs.readUpload(r.ctx, id)
		gone := errors.Is(err, efs.ErrNotFound) || err == nil && !part.Extent.Inline && !r.isThere(part.Extent.Content)
		switch {
		case gone:
			_, err = r.fs.o.Index.Commit(r.ctx, &efs.Txn{Mutations: []efs.Mutation{{Key: efs.Key{Space: efs.SpaceUploads, Bytes: rec.Key}}}})
			return err
		case isForgotten(err), errors.Is(err, efs.ErrDamaged):
			return nil
		case err != nil:
			return err
		}
		r.know(part.Extent.Content)
		r.use.Bytes += part.Extent.Length
		if q := r.fs.quotas.Load().users[up.User]; q != nil && q.Account == part.Account {
			u := r.users[up.User]
			u.Bytes += part.Extent.Length
			r.users[up.User] = u
		}
		return nil
	})
}

// openUpload reports an upload that was open at the journal's end: if it was
// completed later, nobody knows of that, and its file is not there.
func (r *rebuild) openUpload(id efs.ID) error {
	up, err := r.fs.readUpload(r.ctx, id)
	if isForgotten(err) || errors.Is(err, efs.ErrDamaged) || errors.Is(err, efs.ErrNotFound) {
		return nil
	}
	if err == nil && len(r.report.Uploads) < rebuildPaths {
		r.report.Uploads = append(r.report.Uploads, "/"+up.Path)
	}
	return err
}
