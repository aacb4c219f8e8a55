package fsys

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/receipt"
)

// maxForget is how many erasure units can be forgotten at once.
const maxForget = 10_000

// MaxReason is the length, in bytes, of the reason of a forgetting.
const MaxReason = 1024

// Forgotten is what Forget did.
type Forgotten struct {
	Receipt []byte `json:"receipt"` // a document that package receipt verifies
	Salt    []byte `json:"salt"`    // kept nowhere else: with it the receipt shows which path it is about
}

const metaForget = 'f' // ‖ receipt id: a forgetting under way

func forgetKey(id efs.ID) []byte { return append([]byte{metaForget}, id[:]...) }

// forgetting is the record of a forgetting under way. Its steps:
//
//  1. in one transaction the directory is detached, so that nothing of it can
//     be reached or stored any more, and this record is made;
//  2. what is in it is counted and its units are noted;
//  3. it is emptied as every deleted directory is, which needs the keys: only
//     the entries tell which contents are to be deleted;
//  4. the keys of the units are destroyed;
//  5. in one transaction the signed receipt takes the place of this record.
//
// Each can be done again, so that after a crash it goes on with the step that
// it was at. A record that is damaged stops none of them.
type forgetting struct {
	Dir     efs.ID   `cbor:"1,keyasint,omitzero"` // detached; zero: it had been deleted before
	Units   []efs.ID `cbor:"2,keyasint,omitempty"`
	Noted   bool     `cbor:"3,keyasint,omitempty"` // step 2 is done
	Subject []byte   `cbor:"4,keyasint"`
	User    string   `cbor:"5,keyasint,omitempty"`
	Reason  string   `cbor:"6,keyasint,omitempty"`
	Begun   int64    `cbor:"7,keyasint"` // Unix time, microseconds
	Files   int64    `cbor:"8,keyasint,omitempty"`
	Dirs    int64    `cbor:"9,keyasint,omitempty"`
	Bytes   int64    `cbor:"10,keyasint,omitempty"`
	Outside int64    `cbor:"11,keyasint,omitempty"`
	Damaged int64    `cbor:"12,keyasint,omitempty"`
}

// Forget destroys the key of the erasure unit that is the directory at path, or
// of all units below it, with everything that is in them: from then on no copy
// of the data opens any more, in no backup either, as far as copies of the key
// store do not hold the key. Units of that path that were deleted before are
// forgotten with it.
//
// On return it is done and the receipt is kept. After an error that wraps
// efs.ErrStopped, and after a crash, it may have begun: then it is brought to
// its end. efs.ErrBadInput if something at path lies in no unit, or path in
// one; efs.ErrNotFound.
func (fs *FS) Forget(ctx context.Context, who Who, path, reason string) (_ *Forgotten, err error) {
	ctx, span := fs.o.Tracer.Step(ctx, "fsys.Forget")
	defer func() { span.EndWith(err) }()
	segs, err := parseEntry(path)
	if err != nil {
		return nil, err
	}
	if len(reason) > MaxReason {
		return nil, fmt.Errorf("%w: a reason of %d bytes, at most %d are allowed", efs.ErrBadInput, len(reason), MaxReason)
	}
	if fs.o.SignReceipt == nil {
		return nil, fmt.Errorf("%w: forgetting, without a key for receipts", efs.ErrUnsupported)
	}
	if err := fs.ready(); err != nil {
		return nil, err
	}
	fs.erasing.forgetting.Lock()
	defer fs.erasing.forgetting.Unlock()
	fs.reapAll(ctx) // units in what was deleted before are known by then
	id, salt := efs.NewTimeID(), receipt.NewSalt()
	job := &forgetting{Subject: receipt.Subject(salt, join(segs)), User: who.User, Reason: reason, Begun: fs.now()}
	if err := retry(func() error { return fs.beginForget(ctx, segs, who, id, job) }); err != nil {
		return nil, err
	}
	document, err := fs.finishForget(context.WithoutCancel(ctx), id, job)
	if err != nil {
		return nil, fmt.Errorf("forgetting has begun and will go on by itself: %w", err)
	}
	return &Forgotten{Receipt: document, Salt: salt}, nil
}

// beginForget is the first step.
func (fs *FS) beginForget(ctx context.Context, segs []string, who Who, id efs.ID, job *forgetting) error {
	s, err := fs.locate(ctx, segs)
	if err != nil {
		return err
	}
	deleted, err := fs.deletedUnits(ctx, join(segs))
	if err != nil {
		return err
	}
	job.Units = deleted
	t := fs.begin(who)
	t.pin(s)
	if s.entry == nil {
		if len(deleted) == 0 {
			return fmt.Errorf("%w: '%s'", efs.ErrNotFound, s.path())
		}
	} else {
		if err := fs.mayForget(ctx, s); err != nil {
			return err
		}
		job.Dir = s.entry.File
		t.unlist(s)
		dir := job.Dir
		t.delete(efs.SpacePlaces, dir[:])
		t.changeIn(s.of, &efs.Change{Op: efs.OpDeleteTree, Path: s.path(), Dir: s.key.dir(), Before: s.entry})
		if s.of != nil {
			job.Units = append(job.Units, s.of.id())
		}
	}
	t.put(efs.SpaceMeta, forgetKey(id), job)
	_, err = t.commit(ctx)
	return err
}

// finishForget does what is left to be done of a forgetting, and returns its
// receipt. Called with forgetting held.
func (fs *FS) finishForget(ctx context.Context, id efs.ID, job *forgetting) ([]byte, error) {
	if err := fs.noteForgotten(ctx, id, job); err != nil {
		return nil, fmt.Errorf("looking through directory %s: %w", job.Dir, err)
	}
	if err := fs.dropUploadsOf(ctx, job.Units); err != nil {
		return nil, err
	}
	if err := fs.emptyForgotten(ctx); err != nil {
		return nil, err
	}
	if len(job.Units) > 0 {
		// What was done in them has its lines before nobody can tell any more.
		if err := fs.keepAudited(ctx); err != nil {
			return nil, err
		}
	}
	if err := fs.destroyUnits(ctx, job.Units); err != nil {
		return nil, err
	}
	for _, u := range job.Units {
		fs.units.Drop(u)
	}
	if fs.o.Cache != nil {
		fs.o.Cache.Clear() // which of it was of the units is known to nobody any more
	}
	if fs.o.OnForget != nil {
		fs.o.OnForget(job.Units)
	}
	return fs.endForget(ctx, id, job)
}

// emptyForgotten empties what is detached and deletes what that releases,
// unless somebody reads it: then that is deleted when it is closed. What cannot
// be read is deleted too.
func (fs *FS) emptyForgotten(ctx context.Context) error {
	fs.work.keeping.Lock()
	defer fs.work.keeping.Unlock()
	fs.erasing.anyway = true
	defer func() { fs.erasing.anyway = false }()
	if err := fs.reap(ctx); err != nil {
		return fmt.Errorf("emptying what is to be forgotten: %w", err)
	}
	return fs.release(ctx)
}

// noteForgotten is the second step.
func (fs *FS) noteForgotten(ctx context.Context, id efs.ID, job *forgetting) error {
	if job.Noted {
		return nil
	}
	if !job.Dir.IsZero() {
		if err := fs.countForgotten(ctx, job, job.Dir, len(job.Units) > 0 && fs.hasUnit(ctx, job)); err != nil {
			return err
		}
	}
	slices.SortFunc(job.Units, compareID)
	job.Units = slices.Compact(job.Units)
	job.Noted = true
	t := fs.begin(Who{})
	t.put(efs.SpaceMeta, forgetKey(id), job)
	if dir := job.Dir; !dir.IsZero() {
		t.put(efs.SpaceMeta, detachedKey(dir), detached{Dir: dir})
	}
	_, err := t.commit(ctx)
	return err
}

// hasUnit reports whether the directory that is forgotten is that of a unit.
func (fs *FS) hasUnit(ctx context.Context, job *forgetting) bool {
	for _, id := range job.Units {
		u, err := fs.unit(id)
		if err != nil {
			continue
		}
		if r, _, err := fs.unitRecord(ctx, u); err == nil && r != nil && r.Dir == job.Dir {
			return true
		}
	}
	return false
}

// countForgotten counts what is in a directory that nothing can be stored into
// any more, and notes the units in it.
func (fs *FS) countForgotten(ctx context.Context, job *forgetting, dir efs.ID, in bool) error {
	job.Dirs++
	return fs.scan(ctx, efs.SpaceEntries, dir[:], scanPage, func(r *efs.Record) error {
		e, u, err := fs.openUnitEntry(r.Key, r.Sealed)
		if isForgotten(err) || errors.Is(err, efs.ErrDamaged) {
			job.Damaged++
			return nil
		}
		if err != nil {
			return err
		}
		if e.Kind == efs.KindDir {
			if !in && u != nil {
				job.Units = append(job.Units, u.id())
			}
			return fs.countForgotten(ctx, job, e.File, in || u != nil)
		}
		job.Files++
		job.Bytes += e.Size
		if !in {
			job.Outside++
		}
		return nil
	})
}

// forgetAll brings all forgettings to their end that an earlier run began, or
// that failed; one that fails keeps none back. While one is under way it does
// nothing.
func (fs *FS) forgetAll(ctx context.Context) error {
	if !fs.erasing.forgetting.TryLock() {
		return nil
	}
	defer fs.erasing.forgetting.Unlock()
	var failed error
	err := fs.scan(ctx, efs.SpaceMeta, []byte{metaForget}, scanPage, func(r *efs.Record) error {
		var job forgetting
		err := fs.open(efs.SpaceMeta, r.Key, r.Sealed, &job)
		if err == nil {
			_, err = fs.finishForget(ctx, efs.ID(r.Key[1:]), &job)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("forgetting %s: %w", efs.ID(r.Key[1:]), err))
		}
		return ctx.Err()
	})
	return errors.Join(err, failed)
}
