package salvage

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/journal"
	"github.com/efs-project/efs/internal/scratch"
	"go.etcd.io/bbolt"
)

// Records are those of an index, as of one moment. efs.IndexSnapshot has them.
type Records interface {
	Get(ctx context.Context, keys ...efs.Key) ([]efs.Record, error)
	Scan(ctx context.Context, space efs.Space, prefix, after []byte, limit int) ([]efs.Record, error)
	Close() error
}

// replayed is the state that a journal leads to, in a file without a name. All
// that it holds is sealed.
type replayed struct {
	db   *bbolt.DB
	done func() error
	tx   *bbolt.Tx // while it is filled
	n    int
	err  error // of filling it
}

// errScratch is the kind of error of the temporary file. It says nothing of the
// journal, which is not to be passed over for it.
var errScratch = errors.New("keeping what the journal tells in a temporary file, whose directory --tmp names")

// txnRecords is how many records are put into the file at a time.
const txnRecords = 20_000

// replay has read put and delete records, and keeps what they come to in a
// temporary file in dir.
func replay(dir string, read func(put func(efs.Key, []byte) error, del func(efs.Key) error) (journal.Report, error)) (*replayed, journal.Report, error) {
	f, done, err := scratch.File(dir)
	if err != nil {
		return nil, journal.Report{}, fmt.Errorf("%w: %w", errScratch, err)
	}
	r := &replayed{done: done}
	r.db, err = bbolt.Open(f.Name(), 0o600, &bbolt.Options{
		NoSync: true, NoGrowSync: true, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
		OpenFile: func(string, int, os.FileMode) (*os.File, error) { return f, nil },
	})
	if err != nil {
		return nil, journal.Report{}, errors.Join(fmt.Errorf("%w: %w", errScratch, err), done())
	}
	rep, err := read(r.put, r.delete)
	if err == nil {
		err = r.commit()
	}
	if r.err != nil {
		err = fmt.Errorf("%w: %w", errScratch, r.err)
	}
	if err != nil {
		return nil, rep, errors.Join(err, r.Close())
	}
	return r, rep, nil
}

func (r *replayed) put(k efs.Key, sealed []byte) error {
	return r.change(k, func(b *bbolt.Bucket) error { return b.Put(k.Bytes, sealed) })
}

func (r *replayed) delete(k efs.Key) error {
	return r.change(k, func(b *bbolt.Bucket) error { return b.Delete(k.Bytes) })
}

func (r *replayed) change(k efs.Key, f func(*bbolt.Bucket) error) (err error) {
	defer func() {
		if err != nil {
			r.err = err
		}
	}()
	if r.tx == nil {
		if r.tx, err = r.db.Begin(true); err != nil {
			return err
		}
	}
	b, err := r.tx.CreateBucketIfNotExists([]byte{byte(k.Space)})
	if err == nil {
		err = f(b)
	}
	if r.n++; err == nil && r.n%txnRecords == 0 {
		err = r.commit()
	}
	return err
}

func (r *replayed) commit() error {
	if r.tx == nil {
		return nil
	}
	tx := r.tx
	r.tx = nil
	err := tx.Commit()
	if err != nil {
		r.err = err
	}
	return err
}

// Get returns records; all that are there have version 1.
func (r *replayed) Get(_ context.Context, keys ...efs.Key) ([]efs.Record, error) {
	records := make([]efs.Record, len(keys))
	err := r.db.View(func(tx *bbolt.Tx) error {
		for i, k := range keys {
			records[i].Key = k.Bytes
			if b := tx.Bucket([]byte{byte(k.Space)}); b != nil {
				if v := b.Get(k.Bytes); v != nil {
					records[i].Version, records[i].Sealed = 1, append([]byte{}, v...)
				}
			}
		}
		return nil
	})
	return records, err
}

// Scan returns records as efs.Index does.
func (r *replayed) Scan(_ context.Context, space efs.Space, prefix, after []byte, limit int) (records []efs.Record, err error) {
	err = r.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte{byte(space)})
		if b == nil {
			return nil
		}
		from := prefix
		if string(after) > string(prefix) {
			from = after
		}
		c := b.Cursor()
		k, v := c.Seek(from)
		if after != nil && string(k) == string(after) {
			k, v = c.Next()
		}
		for ; k != nil && len(k) >= len(prefix) && string(k[:len(prefix)]) == string(prefix) && len(records) < limit; k, v = c.Next() {
			records = append(records, efs.Record{Key: append([]byte{}, k...), Version: 1, Sealed: append([]byte{}, v...)})
		}
		return nil
	})
	return records, err
}

// Close gives the file up.
func (r *replayed) Close() error {
	if r.tx != nil {
		_ = r.tx.Rollback() // what is given up
		r.tx = nil
	}
	return errors.Join(r.db.Close(), r.done())
}
