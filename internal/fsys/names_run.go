package fsys

import (
	"context"
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/efs-project/efs"
)

// run is a sorted run of names: a search tree of blocks that is never changed
// once the root record refers to it. Each level has the first keys of the
// blocks of the level below; the topmost has one block.
type run struct {
	Number  uint64 `cbor:"1,keyasint"`
	Height  int    `cbor:"2,keyasint,omitempty"` // the topmost level
	Blocks  uint64 `cbor:"3,keyasint"`           // of level 0
	Items   int64  `cbor:"4,keyasint"`
	Deleted int64  `cbor:"5,keyasint,omitempty"` // items that say that a name is gone
	First   string `cbor:"6,keyasint"`           // key
	Last    string `cbor:"7,keyasint"`
}

// runWriter makes a run of items that come in order.
type runWriter struct {
	fs     *FS
	dir    efs.ID
	emit   func(key, sealed []byte) error // takes a sealed block
	levels []openBlock
	run    run
}

// openBlock is the block of a level that is being filled.
type openBlock struct {
	b           []byte
	n           int
	first, last string
	number      uint64
}

func (w *runWriter) add(it item) error {
	if w.run.Items == 0 {
		w.run.First = it.key
	}
	w.run.Last = it.key
	w.run.Items++
	if len(it.value) == 0 {
		w.run.Deleted++
	}
	return w.put(0, it)
}

// put adds to a level. A block above level 0 has at least two items, so that
// levels become smaller.
func (w *runWriter) put(level int, it item) error {
	if level == len(w.levels) {
		w.levels = append(w.levels, openBlock{b: make([]byte, 0, w.fs.limits.block)})
	}
	v := &w.levels[level]
	if full := len(v.b)+itemRoom(it) > w.fs.limits.block; full && v.n > min(level, 1) {
		if err := w.close(level); err != nil {
			return err
		}
		v = &w.levels[level] // which may have moved
	}
	if v.n == 0 {
		v.first, v.last = it.key, ""
	}
	v.b = appendItem(v.b, v.last, it)
	v.last = it.key
	v.n++
	return nil
}

// close ends the open block of a level and notes it in the level above.
func (w *runWriter) close(level int) error {
	if err := w.seal(level); err != nil {
		return err
	}
	v := &w.levels[level]
	it := item{v.first, binary.AppendUvarint(nil, v.number)}
	clear(v.b)
	v.b, v.n, v.number = v.b[:0], 0, v.number+1
	return w.put(level+1, it)
}

func (w *runWriter) seal(level int) error {
	v := &w.levels[level]
	key := blockKey(w.dir, w.run.Number, level, v.number)
	d, err := w.fs.dirNames(context.Background(), w.dir)
	if err != nil {
		return err
	}
	u, err := w.fs.unit(d.unit)
	if err != nil {
		return err
	}
	sealed, err := w.fs.sealRecord(u, efs.SpaceNames, key, v.b)
	if err != nil {
		return err
	}
	return w.emit(key, sealed)
}

// finish ends the run. Without items there is none.
func (w *runWriter) finish() (run, error) {
	for level := 0; level < len(w.levels); level++ {
		if w.levels[level].number == 0 {
			w.run.Height = level
			w.run.Blocks = max(1, w.levels[0].number)
			err := w.seal(level)
			clear(w.levels[level].b)
			return w.run, err
		}
		if err := w.close(level); err != nil {
			return w.run, err
		}
	}
	return w.run, nil
}

// source gives items in the order of their keys.
type source interface {
	// key is that of the present item; ok is false after the last.
	key() (k string, ok bool)
	// value is that of the present item, valid until next.
	value(ctx context.Context) ([]byte, error)
	next(ctx context.Context) error
}

// sorted is a source of items in memory.
type sorted []item

func (s *sorted) key() (string, bool) {
	if len(*s) == 0 {
		return "", false
	}
	return (*s)[0].key, true
}

func (s *sorted) value(context.Context) ([]byte, error) { return (*s)[0].value, nil }

func (s *sorted) next(context.Context) error {
	*s = (*s)[1:]
	return nil
}

// runReader is a source of the items of a run. It reads a block when the first
// value of it is asked for, and none of a run that ends before where it begins.
type runReader struct {
	fs    *FS
	dir   efs.ID
	run   *run
	items []item // of the block at hand
	block uint64 // number of the block to read next
}

// newRunReader returns a source that begins with the first key that is not
// less than from.
func (fs *FS) newRunReader(ctx context.Context, dir efs.ID, r *run, from string) (*runReader, error) {
	s := &runReader{fs: fs, dir: dir, run: r}
	switch {
	case from <= r.First:
		return s, nil
	case from > r.Last:
		s.block = r.Blocks
		return s, nil
	}
	for level := r.Height; level > 0; level-- {
		items, err := fs.readBlock(ctx, dir, r, level, s.block)
		if err != nil {
			return nil, err
		}
		i := sort.Search(len(items), func(i int) bool { return items[i].key > from }) - 1
		below, n := uint64(0), 0
		if i >= 0 {
			below, n = binary.Uvarint(items[i].value)
		}
		if n <= 0 {
			return nil, errBlock
		}
		s.block = below
	}
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	for {
		k, ok := s.key()
		if !ok || k >= from {
			return s, nil
		}
		if err := s.next(ctx); err != nil {
			return nil, err
		}
	}
}

// readBlock returns the items of a block.
func (fs *FS) readBlock(ctx context.Context, dir efs.ID, r *run, level int, number uint64) ([]item, error) {
	key := blockKey(dir, r.Number, level, number)
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceNames, Bytes: key})
	if err != nil {
		return nil, err
	}
	if recs[0].Version == 0 {
		return nil, fmt.Errorf("%w: a block of names is missing", efs.ErrDamaged)
	}
	b, _, err := fs.openRecord(efs.SpaceNames, key, recs[0].Sealed)
	if err != nil {
		return nil, err
	}
	items, err := readItems(b)
	if err == nil && len(items) == 0 {
		err = errBlock
	}
	return items, err
}

func (s *runReader) load(ctx context.Context) (err error) {
	s.items, err = s.fs.readBlock(ctx, s.dir, s.run, 0, s.block)
	s.block++
	return err
}

func (s *runReader) key() (string, bool) {
	if len(s.items) > 0 {
		return s.items[0].key, true
	}
	return s.run.First, s.block == 0
}

func (s *runReader) value(ctx context.Context) ([]byte, error) {
	if len(s.items) == 0 {
		if err := s.load(ctx); err != nil {
			return nil, err
		}
	}
	return s.items[0].value, nil
}

func (s *runReader) next(ctx context.Context) error {
	if len(s.items) == 0 { // before the first block
		if err := s.load(ctx); err != nil {
			return err
		}
	}
	s.items = s.items[1:]
	if len(s.items) == 0 && s.block < s.run.Blocks {
		return s.load(ctx)
	}
	return nil
}

// merge calls fn for the items of all sources in order until it returns false.
// Of equal keys the one of the first source counts.
func merge(ctx context.Context, sources []source, fn func(item) (bool, error)) error {
	for {
		first, found := -1, ""
		for i, s := range sources {
			if k, ok := s.key(); ok && (first < 0 || k < found) {
				first, found = i, k
			}
		}
		if first < 0 {
			return nil
		}
		value, err := sources[first].value(ctx)
		if err != nil {
			return err
		}
		more, err := fn(item{found, value})
		if err != nil || !more {
			return err
		}
		for _, s := range sources[first:] {
			if k, ok := s.key(); ok && k == found {
				if err := s.next(ctx); err != nil {
					return err
				}
			}
		}
	}
}
