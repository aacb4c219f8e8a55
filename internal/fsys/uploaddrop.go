package fsys

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/efs-project/efs"
)

// uploads is what this process knows of the uploads that are open: whose they
// are, and when they expire.
type uploads struct {
	mu    sync.Mutex
	open  map[efs.ID]lease
	users map[string]int
}

type lease struct {
	user    string
	expires int64 // Unix time, microseconds
}

// enter takes a place for an upload of a user, unless the user has as many as
// one may have.
func (u *uploads) enter(id efs.ID, user string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.users[user] >= MaxUploads {
		return false
	}
	u.add(id, lease{user, math.MaxInt64})
	return true
}

func (u *uploads) add(id efs.ID, l lease) {
	if u.open == nil {
		u.open, u.users = map[efs.ID]lease{}, map[string]int{}
	}
	u.open[id] = l
	u.users[l.user]++
}

func (u *uploads) renew(id efs.ID, expires int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if l, ok := u.open[id]; ok {
		l.expires = expires
		u.open[id] = l
	}
}

func (u *uploads) leave(id efs.ID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	l, ok := u.open[id]
	if !ok {
		return
	}
	delete(u.open, id)
	if u.users[l.user]--; u.users[l.user] == 0 {
		delete(u.users, l.user)
	}
}

// due returns the uploads that expire before a time.
func (u *uploads) due(before int64) (ids []efs.ID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, l := range u.open {
		if l.expires <= before {
			ids = append(ids, id)
		}
	}
	return ids
}

// Uploads is how many uploads in parts are open.
func (fs *FS) Uploads() int {
	fs.uploads.mu.Lock()
	defer fs.uploads.mu.Unlock()
	return len(fs.uploads.open)
}

// loadUploads finds the uploads that are open when the file system is opened.
func (fs *FS) loadUploads(ctx context.Context) error {
	return fs.eachUpload(ctx, func(r *efs.Record) error {
		id := efs.ID(r.Key)
		up, err := fs.openUpload(id, r)
		if isForgotten(err) {
			return nil // from before that: fsck deletes it
		}
		if errors.Is(err, efs.ErrDamaged) {
			fs.log.Error("the record of an upload does not open: run fsck", "upload", id.String(), "error", err)
			return nil
		}
		if err != nil {
			return err
		}
		fs.uploads.mu.Lock()
		fs.uploads.add(id, lease{up.User, up.Expires})
		fs.uploads.mu.Unlock()
		return nil
	})
}

// eachUpload calls fn for the record of each upload, not of its parts.
func (fs *FS) eachUpload(ctx context.Context, fn func(*efs.Record) error) error {
	var after []byte
	for {
		recs, err := fs.o.Index.Scan(ctx, efs.SpaceUploads, nil, after, 1)
		if err != nil || len(recs) == 0 {
			return err
		}
		key := recs[0].Key
		if after = key; len(key) >= 16 {
			id := efs.ID(key[:16])
			after = append(id[:], 0xff) // no part of it sorts after this
		}
		if len(key) != 16 {
			continue // parts without an upload: fsck tells
		}
		if err := fn(&recs[0]); err != nil {
			return err
		}
	}
}

// AbortUpload drops an upload with all its parts. efs.ErrNotFound.
func (fs *FS) AbortUpload(ctx context.Context, id efs.ID, who Who) error {
	if _, err := fs.ownUpload(ctx, id, who); err != nil {
		return err
	}
	return fs.dropUpload(ctx, id)
}

// AbandonUploads drops all uploads that are open, as after a restore: what was
// sent of them may not be in the backup.
func (fs *FS) AbandonUploads(ctx context.Context) error {
	return fs.eachUpload(ctx, func(r *efs.Record) error {
		if _, err := fs.openUpload(efs.ID(r.Key), r); isForgotten(err) {
			return nil // fsck deletes it
		}
		return fs.dropUpload(ctx, efs.ID(r.Key))
	})
}

// dropUpload deletes an upload, if it is there, and releases its contents.
func (fs *FS) dropUpload(ctx context.Context, id efs.ID) error {
	return fs.dropUploadIf(ctx, id, func(*leased) bool { return true })
}

// dropUploadIf is dropUpload if, as it is when it is dropped, it is to be.
func (fs *FS) dropUploadIf(ctx context.Context, id efs.ID, wanted func(*leased) bool) error {
	gone := true
	err := retry(func() error {
		up, err := fs.readUpload(ctx, id)
		if errors.Is(err, efs.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if gone = wanted(up); !gone {
			return nil
		}
		parts, err := fs.uploadParts(ctx, id)
		if err != nil {
			return err
		}
		t := fs.begin(Who{})
		t.endUpload(up, parts, func(*leasedPart) bool { return false })
		_, err = t.commit(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("dropping upload %s: %w", id, err)
	}
	if gone {
		fs.uploads.leave(id)
	}
	return nil
}

// expireUploads drops the uploads that have not been gone on with.
func (fs *FS) expireUploads(ctx context.Context) error {
	now := fs.now()
	for _, id := range fs.uploads.due(now) {
		if err := fs.dropUploadIf(ctx, id, func(up *leased) bool { return up.Expires <= now }); err != nil {
			return err
		}
		fs.log.Info("dropped an upload that was not completed in time", "upload", id.String())
	}
	return nil
}

// dropUploadsOf drops the uploads into erasure units that are about to be
// forgotten. No more begin: their directories are detached.
func (fs *FS) dropUploadsOf(ctx context.Context, units []efs.ID) error {
	if len(units) == 0 {
		return nil
	}
	of := make(map[efs.ID]bool, len(units))
	for _, id := range units {
		of[id] = true
	}
	return fs.eachUpload(ctx, func(r *efs.Record) error {
		u, err := fs.unitOfRecord(r.Sealed)
		if isForgotten(err) || err == nil && !of[u.id()] {
			return nil
		}
		if err == nil {
			err = fs.dropUpload(ctx, efs.ID(r.Key))
		}
		if errors.Is(err, efs.ErrDamaged) {
			return nil // what belongs to it, fsck finds
		}
		return err
	})
}

// dropUploadsInto drops the uploads into a directory that has become an erasure
// unit: they are not sealed for it, and are to be begun again. Those that begin
// from now on are.
func (fs *FS) dropUploadsInto(ctx context.Context, u *unit) error {
	return fs.eachUpload(ctx, func(r *efs.Record) error {
		up, err := fs.openUpload(efs.ID(r.Key), r)
		if isForgotten(err) || errors.Is(err, efs.ErrDamaged) {
			return nil
		}
		if err != nil {
			return err
		}
		segs, err := ParsePath(up.Path)
		if err != nil || up.unit != nil {
			return nil
		}
		s, err := fs.locate(ctx, segs)
		if err != nil {
			if errors.Is(err, efs.ErrNotDir) || errors.Is(err, efs.ErrDamaged) {
				return nil
			}
			return err
		}
		if s.unit.id() != u.id() {
			return nil
		}
		return fs.dropUpload(ctx, up.id)
	})
}
