package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/efs-project/efs"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// imageStep is how many bytes are copied between two looks at whether the
// snapshot is still wanted.
const imageStep = 8 << 20

func snapshotPath(index string) string { return index + ".snapshot" }

// image is an efs.IndexSnapshot: a copy of the file of its own, which has no
// name, so that it is gone with the process.
type image struct {
	db   *bbolt.DB
	gens []*generation // beyond the file, newest first: of OpenReadOnly
	head efs.Head

	once sync.Once
	err  error
}

var _ efs.IndexSnapshot = (*image)(nil)

// Snapshot copies the index as of one moment; see efs.Index. While it copies,
// pages of the file that are freed are not used again.
//
// The file's pages are copied as they are: those that a read transaction
// shows are not written before it ends. What the log has beyond them is taken
// from memory, which is given back at once, and put into the copy.
func (x *Index) Snapshot(ctx context.Context) (efs.IndexSnapshot, error) {
	var m *image
	err := guard(func() (err error) {
		m, err = x.image(ctx)
		return err
	})
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		err = errClosed
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot of the index: %w", noSpace(err))
	}
	return m, nil
}

func (x *Index) image(ctx context.Context) (*image, error) {
	x.mu.Lock()
	if x.closing {
		x.mu.Unlock()
		return nil, errClosed
	}
	x.mu.Unlock()
	s := new(snapshot)
	metas, err := x.beginImage(s)
	if err != nil {
		return nil, err
	}
	ended := false
	end := func() {
		if !ended {
			ended = true
			x.end(s)
		}
	}
	defer end()
	head, err := x.sealer.OpenHead(s.get(bucketMeta, metaHead))
	if err != nil {
		return nil, fmt.Errorf("index head does not open: %w", err)
	}
	beyond := s.operations()
	x.endGenerations(s)
	file, err := x.imageFile(s.file.tx.Size())
	if err != nil {
		return nil, err
	}
	err = x.copyPages(ctx, file, s, metas)
	end()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	m := &image{head: head}
	if m.db, err = openImage(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if err := m.load(beyond); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// beginImage begins a snapshot with a view of the file of its own, and returns
// the file's meta pages, the newer of which is that view's.
func (x *Index) beginImage(s *snapshot) (metas []byte, err error) {
	x.writer.Lock()
	defer x.writer.Unlock()
	if err := x.fault("snapshot"); err != nil {
		return nil, err
	}
	if err := x.begin(s, true); err != nil {
		return nil, err
	}
	metas = make([]byte, 2*s.store.db.Info().PageSize)
	if _, err := s.store.room.file.ReadAt(metas, 0); err != nil {
		x.end(s)
		return nil, err
	}
	return metas, nil
}

// operation is one that the file does not have yet. A nil value deletes.
type operation struct {
	bucket     byte
	key, value []byte
}

// operations copies what the generations say as of the snapshot, oldest
// generation first.
func (s *snapshot) operations() (all [][]operation) {
	for i := len(s.gens) - 1; i >= 0; i-- {
		t := &s.gens[i].table
		var ops []operation
		var done []byte
		for at := t.next(0); at != 0; at = t.next(at) {
			k := t.key(at)
			if t.nodes[at].seq > s.seq || string(k) == string(done) {
				continue
			}
			done = k
			op := operation{bucket: k[0], key: append([]byte{}, k[1:]...)}
			if v := t.value(at); v != nil {
				op.value = append([]byte{}, v...)
			}
			ops = append(ops, op)
		}
		all = append(all, ops)
	}
	return all
}

// endGenerations gives a snapshot's generations back before it ends, as the
// committer waits for them.
func (x *Index) endGenerations(s *snapshot) {
	x.gate.Lock()
	defer x.gate.Unlock()
	for _, g := range s.gens {
		if g.readers--; g.flushed && g.readers == 0 {
			x.reuse(g)
		}
	}
	s.gens = nil
}

// imageFile makes a file without a name beside the index.
func (x *Index) imageFile(size int64) (*os.File, error) {
	free, err := availableBytes(filepath.Dir(x.log.path))
	if err != nil {
		return nil, err
	}
	if need := uint64(size + size/16 + 2*x.current().room.reserve); free < need {
		return nil, fmt.Errorf("%d bytes are needed beside the index: %w", need, efs.ErrNoSpace)
	}
	x.imaging.Lock()
	defer x.imaging.Unlock()
	path := snapshotPath(x.log.path)
	if err := removeIfThere(path); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// copyPages copies what the snapshot's view shows of the file.
func (x *Index) copyPages(ctx context.Context, to *os.File, s *snapshot, metas []byte) error {
	if _, err := to.Write(metas); err != nil {
		return err
	}
	// Opened anew, as io.Copy moves the offset; by its descriptor, as its
	// name may be another file's by now.
	from, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", s.store.room.file.Fd()))
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }() // only read
	size := s.file.tx.Size()
	if _, err := from.Seek(int64(len(metas)), io.SeekStart); err != nil {
		return err
	}
	for at := int64(len(metas)); at < size; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-x.closed:
			return errClosed
		default:
		}
		n, err := io.CopyN(to, from, min(imageStep, size-at))
		if err != nil {
			return err
		}
		startWriting(to, at, n)
		at += n
	}
	return nil
}

// openImage opens a copy.
func openImage(file *os.File) (*bbolt.DB, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return bbolt.Open(file.Name(), 0o600, &bbolt.Options{
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: int(info.Size() + info.Size()/4 + minGrowth),
		NoSync:          true, // it is gone with the process
		NoGrowSync:      true,
		OpenFile:        func(string, int, fs.FileMode) (*os.File, error) { return file, nil },
	})
}

// load puts into the copy what the file did not have.
func (m *image) load(beyond [][]operation) error {
	for _, ops := range beyond {
		err := m.db.Update(func(tx *bbolt.Tx) error {
			for _, op := range ops {
				b := bucketOf(tx, op.bucket)
				if op.value == nil {
					if err := b.Delete(op.key); err != nil {
						return err
					}
				} else if err := b.Put(op.key, op.value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Head returns the head of the commit that the snapshot is of.
func (m *image) Head() efs.Head { return m.head }

// Get returns the records under keys; see efs.Index.
func (m *image) Get(ctx context.Context, keys ...efs.Key) (records []efs.Record, err error) {
	err = m.view(ctx, func(s *snapshot) (err error) { records, err = s.records(keys); return err })
	return records, err
}

// Scan returns records in byte order; see efs.Index.
func (m *image) Scan(ctx context.Context, space efs.Space, prefix, after []byte, limit int) (records []efs.Record, err error) {
	err = m.view(ctx, func(s *snapshot) (err error) { records, err = s.scan(space, prefix, after, limit); return err })
	return records, err
}

// Queued returns the release queue; see efs.Index.
func (m *image) Queued(ctx context.Context, after efs.Release, limit int) (releases []efs.Release, err error) {
	err = m.view(ctx, func(s *snapshot) (err error) { releases, err = s.queued(after, limit); return err })
	return releases, err
}

// Usage returns what an account had in use.
func (m *image) Usage(ctx context.Context, account efs.ID) (u efs.Usage, err error) {
	err = m.view(ctx, func(s *snapshot) (err error) { u, err = parseUsage(s.get(bucketUsage, account[:])); return err })
	return u, err
}

// view runs fn on the copy.
func (m *image) view(ctx context.Context, fn func(s *snapshot) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := guard(func() error {
		return m.db.View(func(tx *bbolt.Tx) error { return fn(&snapshot{file: &fileView{tx: tx}, gens: m.gens, seq: newest}) })
	})
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return errClosed
	}
	return err
}

// Close gives the copy's blocks back to the volume.
func (m *image) Close() error {
	m.once.Do(func() {
		m.err = guard(m.db.Close)
		for _, g := range m.gens {
			g.release()
		}
	})
	return m.err
}
