package keyring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
	bolt "go.etcd.io/bbolt"
)

// Restored tells what Restore did.
type Restored struct {
	Copy     Copy     `json:"copy"`
	Restored []efs.ID `json:"restored"` // file systems whose keys came from the backup
	Kept     []efs.ID `json:"kept"`     // those whose keys are here and good
	Missing  []efs.ID `json:"missing"`  // those of which neither has usable keys
}

// Restore mends the keys of those of the given file systems whose keys here are
// missing or damaged, from a backup. What is here and good stays: it is newer.
// What is known here to be destroyed stays so: units whose tombstones are here,
// and epochs that are gone. One transaction. Errors:
// efs.ErrRefused (it has expired), efs.ErrWrongKey (of another root),
// efs.ErrDamaged.
func (r *Keyring) Restore(ctx context.Context, src io.Reader, root efs.ID, kek seal.KEK, fs []efs.ID) (Restored, error) {
	r.loading.Lock()
	defer r.loading.Unlock()
	done, err := r.restore(ctx, src, root, kek, fs)
	if err != nil {
		return Restored{}, fmt.Errorf("restoring keys: %w", err)
	}
	return done, nil
}

func (r *Keyring) restore(ctx context.Context, src io.Reader, root efs.ID, kek seal.KEK, fs []efs.ID) (done Restored, err error) {
	path := r.store.beside(restoreSuffix)
	defer func() { err = errors.Join(err, removeOverwritten(path)) }()
	if done.Copy, err = openBackup(path, src, root, kek); err != nil {
		return done, backupError(err)
	}
	if !r.life.now().Before(done.Copy.Expires) {
		return done, expired(done.Copy)
	}
	old, err := openStore(path)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, old.close()) }()
	var puts []func(*bolt.Tx) error
	for _, id := range fs {
		put, kept, err := r.plan(ctx, old, id)
		switch {
		case kept:
			done.Kept = append(done.Kept, id)
		case noAnswer(err):
			return done, err // nobody knows now whether the keys are good
		case err != nil:
			r.log.Warn("a backup of keys has none for a file system", "fs", id, "err", err)
			done.Missing = append(done.Missing, id)
		default:
			puts = append(puts, put)
			done.Restored = append(done.Restored, id)
		}
	}
	err = r.store.update(func(tx *bolt.Tx) error {
		for _, put := range puts {
			if err := put(tx); err != nil {
				return err
			}
		}
		return mergeCopies(tx, old, r.life.now())
	})
	if err == nil {
		err = r.store.finishScrub()
	}
	return done, err
}

func backupError(err error) error {
	switch {
	case errors.Is(err, seal.ErrNoKey):
		return fmt.Errorf("%w: the backup was sealed by another root: put the server's directory back that it belongs to, or begin an empty root with it (efsctl init --from) (%w)", efs.ErrWrongKey, err)
	case errors.Is(err, seal.ErrTampered), errors.Is(err, seal.ErrFormat), errors.Is(err, seal.ErrTruncated):
		return fmt.Errorf("%w: this is no backup of keys, or it was changed (%w)", efs.ErrDamaged, err)
	}
	return err
}

// plan looks at one file system: its keys here are kept if all of them are
// good; else put stores what is good here and in the backup together.
func (r *Keyring) plan(ctx context.Context, old *store, fs efs.ID) (put func(*bolt.Tx) error, kept bool, err error) {
	here, err := r.wares(fs)
	if err != nil {
		return nil, false, err
	}
	if err = r.allGood(ctx, here); err == nil {
		return nil, true, nil
	}
	if noAnswer(err) {
		return nil, false, err
	}
	back := &Keyring{store: old, kms: r.kms, life: r.life, log: r.log}
	k, err := back.load(fs)
	if err != nil {
		return nil, false, err
	}
	defer k.destroy(errClosed)
	if err := k.set().verify(ctx); err != nil {
		return nil, false, err
	}
	there, err := back.wares(fs)
	if err != nil {
		return nil, false, err
	}
	m := &mending{ring: r, keys: k, here: here, there: there, records: map[efs.ID]keyRecord{}}
	if err := m.mend(ctx); err != nil {
		return nil, false, err
	}
	return m.put, false, nil
}

// noAnswer reports whether an error leaves open if a key is good.
func noAnswer(err error) bool {
	return errors.Is(err, efs.ErrUnavailable) || errors.Is(err, efs.ErrRefused) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// mergeCopies registers the copies that the backup knows of.
func mergeCopies(tx *bolt.Tx, old *store, now time.Time) error {
	return old.view(func(from *bolt.Tx) error {
		return eachCopy(from, func(c copyRecord) error {
			if c.Expires <= now.UnixMicro() {
				return nil
			}
			return putCopy(tx, c, now)
		})
	})
}
