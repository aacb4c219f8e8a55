package bolt

import (
	"context"
	"errors"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// store is the file of an index.
type store struct {
	db   *bbolt.DB
	room *room

	readers int           // guarded by Index.gate
	retired bool          // likewise: no reader begins any more
	writing bool          // likewise
	shared  *fileView     // likewise
	closed  chan struct{} // closed when err is set
	err     error
}

func newStore(db *bbolt.DB, room *room) *store {
	return &store{db: db, room: room, closed: make(chan struct{})}
}

// retireStore closes a store when its last reader has ended. x.gate is held.
// (bbolt's own waiting for readers would keep them from ending.)
func (x *Index) retireStore(st *store) {
	st.retired = true
	x.unshare(st)
	st.room.gone.Store(true)
	if st.readers == 0 {
		go func() {
			defer close(st.closed)
			st.err = guard(st.db.Close)
		}()
	}
}

// current returns the store of now. It may be replaced at any time by one that
// holds the same, but not while writer is held.
func (x *Index) current() *store {
	x.gate.Lock()
	defer x.gate.Unlock()
	return x.store
}

// view runs fn on the state of one moment.
func (x *Index) view(ctx context.Context, fn func(s *snapshot) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := snapshots.Get().(*snapshot)
	defer snapshots.Put(s)
	err := guard(func() error {
		if err := x.begin(s, false); err != nil {
			return err
		}
		defer x.end(s)
		return fn(s)
	})
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return errClosed
	}
	return err
}

// begin takes a snapshot, with a view of the file of its own if it wants that.
func (x *Index) begin(s *snapshot, own bool) error {
	x.gate.Lock()
	defer x.gate.Unlock()
	switch {
	case x.isWedged():
		return errWedged
	case x.store.retired:
		return errClosed
	}
	file, err := x.fileView(own)
	if errors.Is(err, errPanicked) {
		x.setWedged()
	}
	if err != nil {
		return err
	}
	s.file = file
	s.store, s.seq = x.store, x.visible
	s.store.readers++
	s.gens = s.held[:copy(s.held[:], x.gens)]
	for _, g := range s.gens {
		g.readers++
	}
	return nil
}

// end gives up a snapshot.
func (x *Index) end(s *snapshot) {
	x.leave(s.file)
	x.gate.Lock()
	defer x.gate.Unlock()
	for _, g := range s.gens {
		if g.readers--; g.flushed && g.readers == 0 {
			x.reuse(g)
		}
	}
	if s.store.readers--; s.store.retired && s.store.readers == 0 {
		x.retireStore(s.store)
	}
	*s = snapshot{cursors: s.cursors, cursorsOf: s.cursorsOf}
}

// write runs fn in a transaction of the file, which may use the reserve if it
// gives back, and commits it by commit. An error is that of a failed write, or
// berrors.ErrMaxSizeReached if nothing was written. x.writer is held.
func (x *Index) write(givesBack bool, fn func(tx *bbolt.Tx) error, commit func(*bbolt.Tx) error) error {
	return guard(func() error {
		if x.isWedged() {
			return errWedged
		}
		st := x.current()
		x.writing(st, true)
		defer x.writing(st, false)
		var tx *bbolt.Tx
		err := guard(func() (err error) { tx, err = st.db.Begin(true); return err })
		if errors.Is(err, errPanicked) {
			x.setWedged()
		}
		if err != nil {
			return err
		}
		// After a commit this does nothing; after a panic in it, it lets go of
		// bbolt's lock, so that Close does not wait for ever.
		defer func() {
			if errors.Is(guard(tx.Rollback), errPanicked) {
				x.setWedged()
			}
		}()
		st.db.MaxSize = st.room.limit(givesBack) // read by this goroutine alone, when it allocates pages
		if err := fn(tx); err != nil {
			return err
		}
		if err := x.fault("commit"); err != nil {
			return err
		}
		if err := commit(tx); err != nil {
			return err
		}
		return x.measure()
	})
}

// measure notes what the file has free.
func (x *Index) measure() error {
	return x.view(context.Background(), func(s *snapshot) error {
		stats := s.store.db.Stats()
		s.store.room.note(s.file.tx.Size(), int64(s.store.db.Info().PageSize), &stats)
		return nil
	})
}

// fit runs write, with the file grown as far as it must be, and its reserve
// used if it cannot grow. errFull if that is not enough either.
func (x *Index) fit(fn func(tx *bbolt.Tx) error) error {
	for {
		err := x.write(false, fn, (*bbolt.Tx).Commit)
		if !errors.Is(err, berrors.ErrMaxSizeReached) {
			return err
		}
		if err := x.current().room.grow(); isNoSpace(err) {
			err := x.write(true, fn, (*bbolt.Tx).Commit)
			if errors.Is(err, berrors.ErrMaxSizeReached) {
				err = errFull
			}
			return err
		} else if err != nil {
			return err
		}
	}
}
