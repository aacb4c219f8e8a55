package bolt

import (
	"bytes"
	"sync"

	"go.etcd.io/bbolt"
)

// snapshot is the index at one moment: what generations say, and beneath them
// the file. What it returns is valid until it ends.
type snapshot struct {
	store *store
	file  *fileView
	gens  []*generation // newest first
	seq   uint64        // of the last operation that it shows

	held [maxSegments + 1]*generation

	// Cursors for single keys, kept from snapshot to snapshot while the view
	// of the file is the same.
	cursors   [numBuckets]*bbolt.Cursor
	cursorsOf *fileView
}

var snapshots = sync.Pool{New: func() any { return new(snapshot) }}

// get returns the value of a key, nil if there is none.
func (s *snapshot) get(bucket byte, key []byte) []byte {
	for _, g := range s.gens {
		if v, found := g.table.get(bucket, key, s.seq); found {
			return v
		}
	}
	if k, v := s.finder(bucket).Seek(key); bytes.Equal(k, key) {
		return v
	}
	return nil
}

// finder returns the cursor that looks up single keys of a bucket.
func (s *snapshot) finder(b byte) *bbolt.Cursor {
	if s.cursorsOf != s.file {
		s.cursors, s.cursorsOf = [numBuckets]*bbolt.Cursor{}, s.file
	}
	if s.cursors[b] == nil {
		s.cursors[b] = s.bucket(b).Cursor()
	}
	return s.cursors[b]
}

func (s *snapshot) bucket(b byte) *bbolt.Bucket { return s.file.bucket(b) }

// last returns the highest key of a bucket that lies before bound (nil: of
// all), and its value. A nil key: there is none.
func (s *snapshot) last(bucket byte, bound []byte) (key, value []byte) {
	for {
		key, value = s.lastInFile(bucket, bound)
		for i := len(s.gens) - 1; i >= 0; i-- { // the newest says what holds
			t := &s.gens[i].table
			if k, v := t.last(bucket, bound, s.seq); k != nil && (key == nil || bytes.Compare(k, key) >= 0) {
				key, value = k, v
			}
		}
		if key == nil || value != nil {
			return key, value
		}
		bound = key // deleted: look further down
	}
}

func (s *snapshot) lastInFile(bucket byte, bound []byte) (key, value []byte) {
	c := s.bucket(bucket).Cursor()
	if bound == nil {
		return c.Last()
	}
	if k, _ := c.Seek(bound); k == nil {
		return c.Last()
	}
	return c.Prev()
}

// last returns the newest operation as of seq on the highest key of a bucket
// before bound (nil: of all). A nil value deletes.
func (t *table) last(bucket byte, bound []byte, seq uint64) (key, value []byte) {
	for {
		var prev uint32
		if bound == nil {
			_, prev = t.seek(bucket+1, nil, newest)
		} else {
			_, prev = t.seek(bucket, bound, newest)
		}
		if prev == 0 || t.key(prev)[0] != bucket {
			return nil, nil
		}
		k := t.key(prev)[1:]
		// prev is the oldest operation on k.
		if t.nodes[prev].seq <= seq {
			at, _ := t.seek(bucket, k, seq)
			return k, t.value(at)
		}
		bound = k
	}
}

// cursor walks the records of one bucket in byte order.
type cursor struct {
	s      *snapshot
	bucket byte
	at     [maxSegments + 1]uint32 // in the table of each generation, on an operation that shows
	file   *bbolt.Cursor
	k, v   []byte // where file stands
}

// seek makes a cursor and returns the first record at or after from.
func (s *snapshot) seek(bucket byte, from []byte) (c *cursor, key, value []byte) {
	c = &cursor{s: s, bucket: bucket, file: s.bucket(bucket).Cursor()}
	for i, g := range s.gens {
		at, _ := g.table.seek(bucket, from, newest)
		c.at[i] = c.showing(i, at)
	}
	c.k, c.v = c.file.Seek(from)
	key, value = c.next()
	return c, key, value
}

// showing returns the first operation from at on that the snapshot shows, 0
// at the end of the bucket.
func (c *cursor) showing(i int, at uint32) uint32 {
	t := &c.s.gens[i].table
	for at != 0 && t.nodes[at].seq > c.s.seq {
		at = t.next(at)
	}
	if at != 0 && t.key(at)[0] != c.bucket {
		return 0
	}
	return at
}

// next returns the record that the cursor has come to, and moves on. A nil key:
// the end.
func (c *cursor) next() (key, value []byte) {
	for {
		from := -1 // the newest source that stands on the lowest key
		for i, g := range c.s.gens {
			if c.at[i] == 0 {
				continue
			}
			if k := g.table.key(c.at[i])[1:]; key == nil || bytes.Compare(k, key) < 0 {
				key, from = k, i
			}
		}
		switch {
		case c.k != nil && (key == nil || bytes.Compare(c.k, key) < 0):
			key, value = c.k, c.v
		case key == nil:
			return nil, nil
		default:
			value = c.s.gens[from].table.value(c.at[from])
		}
		c.skip(key)
		if value != nil {
			return key, value
		}
		key = nil
	}
}

// skip moves all sources past a key.
func (c *cursor) skip(key []byte) {
	for i, g := range c.s.gens {
		t := &g.table
		for c.at[i] != 0 && bytes.Equal(t.key(c.at[i])[1:], key) {
			c.at[i] = c.showing(i, t.next(c.at[i]))
		}
	}
	if c.k != nil && bytes.Equal(c.k, key) {
		c.k, c.v = c.file.Next()
	}
}
