package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/efs-project/efs/internal/atomicfile"
	"go.etcd.io/bbolt"
)

// Compaction is worth while when a third of a large file is free: bbolt writes
// the list of free pages with each transaction, and holds it in memory several
// times over.
const (
	compactAbove = 64 << 20 // free bytes
	compactRatio = 3

	compactStep  = 4 << 20 // bytes copied while the flusher waits
	compactSync  = 32 << 20
	compactShare = 3                // rests this many times as long as it works
	compactRetry = 10 * time.Minute // after it failed
)

func compactPath(index string) string { return index + ".compact" }

// compaction is a copy of the file in the making. What lies at or before its
// place (bucket, key) in the old file lies in the new one, too, whenever
// Index.writer is free.
type compaction struct {
	db     *bbolt.DB
	file   *os.File
	bucket byte
	key    []byte // nil: nothing of the bucket
}

// errGivenUp ends a compaction that something else made impossible.
var errGivenUp = errors.New("compaction was given up")

// compactIfWorthwhile starts a compaction in the background if the file is
// mostly free. The flusher calls it.
func (x *Index) compactIfWorthwhile() {
	r := x.current().room
	free := r.freePages.Load()
	if free < x.compactAbove || free < r.used.Load()/compactRatio || !x.compacting.CompareAndSwap(false, true) {
		return
	}
	if time.Since(x.compactFailed) < compactRetry {
		x.compacting.Store(false)
		return
	}
	go func() {
		defer x.compacting.Store(false)
		if err := x.Compact(context.Background()); err != nil {
			x.compactFailed = time.Now()
		}
	}()
}

// Compact copies the file into a new one without free pages and goes on with
// that. Transactions and reads go on meanwhile. An error means that the old
// file is still in use, but for one that stopped the index.
func (x *Index) Compact(ctx context.Context) error {
	x.mu.Lock()
	if err := x.refusal(); err != nil {
		x.mu.Unlock()
		return err
	}
	x.background.Add(1)
	x.mu.Unlock()
	defer x.background.Done()
	x.compactor.Lock()
	defer x.compactor.Unlock()
	if err := x.roomForCopy(); err != nil {
		return fmt.Errorf("compact index: %w", err)
	}
	c, err := startCompaction(x.log.path, x.fault)
	if err == nil {
		if err = x.copyAll(ctx, c); err == nil {
			err = x.switchTo(c)
		}
		if err != nil {
			x.writer.Lock()
			x.copying = nil
			x.writer.Unlock()
			_ = guard(c.db.Close)
			err = errors.Join(err, os.Remove(compactPath(x.log.path)))
		}
	}
	if err != nil {
		return fmt.Errorf("compact index: %w", noSpace(err))
	}
	x.compactions.Add(1)
	return nil
}

// roomForCopy refuses to begin what would fill the volume.
func (x *Index) roomForCopy() error {
	free, err := availableBytes(filepath.Dir(x.log.path))
	if err != nil {
		return err
	}
	r := x.current().room
	live := r.used.Load() - r.freePages.Load()
	if need := uint64(live + live/4 + 2*r.reserve); free < need {
		return fmt.Errorf("%d bytes are needed: %w", need, errFull)
	}
	return nil
}

// startCompaction makes an empty copy.
func startCompaction(index string, fault func(string) error) (c *compaction, err error) {
	if err := fault("compact"); err != nil {
		return nil, err
	}
	path := compactPath(index)
	if err := removeIfThere(path); err != nil {
		return nil, err
	}
	c = &compaction{}
	c.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:         lockTimeout,
		PageSize:        pageSize,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: mapSizes(0)[0],
		NoSync:          true, // until it is whole
		NoGrowSync:      true,
		OpenFile: func(name string, flag int, mode fs.FileMode) (*os.File, error) {
			c.file, err = os.OpenFile(name, flag|os.O_EXCL|noFollow, mode)
			return c.file, err
		},
	})
	if err == nil {
		err = c.db.Update(createBuckets)
		if err != nil {
			err = errors.Join(err, c.db.Close())
		}
	}
	if err != nil {
		return nil, errors.Join(err, removeIfThere(path))
	}
	return c, nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// copyAll copies all buckets but the last, whose records change with each
// generation.
func (x *Index) copyAll(ctx context.Context, c *compaction) error {
	unsynced := 0
	for {
		n, worked, err := x.copySome(c)
		if err != nil || c.bucket == bucketMeta {
			return err
		}
		if unsynced += n; unsynced >= compactSync {
			unsynced = 0
			if err := c.db.Sync(); err != nil {
				return err
			}
		}
		select {
		case <-time.After(compactShare * worked):
		case <-ctx.Done():
			return ctx.Err()
		case <-x.closed:
			return errClosed
		case <-x.halted:
			return errHalted
		}
	}
}

// copySome copies on from the compaction's place, and tells how long it kept the
// file from being written. (To count its own waiting for the flusher would make
// it slowest where many free pages make each flush slow.)
func (x *Index) copySome(c *compaction) (n int, worked time.Duration, err error) {
	x.writer.Lock()
	defer x.writer.Unlock()
	began := time.Now()
	if c.bucket == 0 && c.key == nil {
		c.bucket, x.copying = 1, c
	} else if x.copying != c {
		return 0, 0, errGivenUp
	}
	if err := x.fault("copy"); err != nil {
		return 0, 0, err
	}
	err = x.view(context.Background(), func(s *snapshot) error {
		return c.update(func(tx *bbolt.Tx) error {
			n, err = c.copyRange(s.file.tx, tx)
			return err
		})
	})
	return n, time.Since(began), err
}

// update is bbolt's Update, with what a damaged file does caught.
func (c *compaction) update(fn func(tx *bbolt.Tx) error) error {
	return guard(func() error {
		tx, err := c.db.Begin(true)
		if err != nil {
			return err
		}
		defer func() { _ = guard(tx.Rollback) }() // does nothing after a commit
		if err := fn(tx); err != nil {
			return err
		}
		return tx.Commit()
	})
}

// copyRange copies up to compactStep bytes and moves the compaction's place.
func (c *compaction) copyRange(from, to *bbolt.Tx) (n int, err error) {
	cursor, into := from.Bucket(names[c.bucket]).Cursor(), bucketOf(to, c.bucket)
	k, v := cursor.Seek(c.key)
	if c.key != nil && bytes.Equal(k, c.key) {
		k, v = cursor.Next()
	}
	for ; k != nil && n < compactStep; k, v = cursor.Next() {
		if err := into.Put(k, v); err != nil {
			return n, err
		}
		c.key = k
		n += opSize(len(k), len(v))
	}
	if k != nil {
		c.key = bytes.Clone(c.key) // it lies in the old file's memory
		return n, nil
	}
	for c.bucket, c.key = c.bucket+1, nil; names[c.bucket] == nil; c.bucket++ {
	}
	return n, nil
}

// follow repeats what a generation did to the part that has been copied.
// Index.writer is held.
func (c *compaction) follow(g *generation) error {
	return c.update(func(tx *bbolt.Tx) error {
		return load(tx, g, func(bucket byte, key []byte) bool {
			return bucket < c.bucket || bucket == c.bucket && c.key != nil && bytes.Compare(key, c.key) <= 0
		})
	})
}

// followed tells a compaction under way what was put into the file, and gives
// it up if it cannot follow. x.writer is held.
func (x *Index) followed(g *generation) {
	if x.copying != nil && x.copying.follow(g) != nil {
		x.copying = nil
	}
}

// switchTo completes a copy and puts it in the file's place.
func (x *Index) switchTo(c *compaction) error {
	if err := c.db.Sync(); err != nil { // most of it, while the flusher goes on
		return err
	}
	x.writer.Lock()
	defer x.writer.Unlock()
	if x.copying != c {
		return errGivenUp
	}
	var used int64
	err := x.view(context.Background(), func(s *snapshot) error {
		return c.update(func(tx *bbolt.Tx) error {
			used = tx.Size()
			return s.file.tx.Bucket(names[bucketMeta]).ForEach(tx.Bucket(names[bucketMeta]).Put)
		})
	})
	if err != nil {
		return err
	}
	c.db.NoSync, c.db.NoGrowSync, c.db.AllocSize = false, false, 0
	old := x.current()
	room, err := openRoom(c.file, used+minGrowth, Options{Reserve: old.room.reserve, Fault: x.fault})
	if err != nil {
		return err
	}
	if err := errors.Join(x.fault("switch"), c.file.Sync()); err != nil {
		return err
	}
	if err := os.Rename(compactPath(x.log.path), x.log.path); err != nil {
		return err
	}
	x.copying = nil
	x.gate.Lock()
	x.store = newStore(c.db, room)
	x.retireStore(old)
	x.gate.Unlock()
	err = x.fault("switched")
	if err == nil {
		err = atomicfile.SyncDir(filepath.Dir(x.log.path))
	}
	if err == nil {
		err = x.measure()
	}
	if err != nil { // nobody knows which file the next start finds
		x.stop(nil, err)
	}
	return nil
}
