package fsys

import (
	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
)

// encodeEntry is detcbor.Marshal for an entry, by hand where it has no
// metadata: every store encodes one for the index and one for the log. The
// result has one allocation, so that its caller can wipe all of it.
func encodeEntry(e *efs.Entry) ([]byte, error) {
	if len(e.Meta) > 0 {
		return detcbor.Marshal(e)
	}
	return appendEntry(make([]byte, 0, entryRoom(e)), e), nil
}

// encodeChange is encodeEntry for a change.
func encodeChange(c *efs.Change) ([]byte, error) {
	room := 96 + len(c.User) + len(c.Path) + len(c.From)
	for _, e := range [...]*efs.Entry{c.Before, c.After} {
		if e == nil {
			continue
		}
		if len(e.Meta) > 0 {
			return detcbor.Marshal(c)
		}
		room += entryRoom(e)
	}
	if o := c.Origin; o != nil {
		room += 32 + len(o.Op) + len(o.Session) + len(o.Request) + len(o.From) + len(o.Method) + len(o.Name)
	}
	w := beginMap(make([]byte, 0, room))
	w.uint(1, uint64(c.Op))
	w.int(2, c.Time)
	w.optional(3, c.User)
	w.optional(4, c.Path)
	w.optional(5, c.From)
	w.bytes(6, c.Dir[:])
	if c.Before != nil {
		w.key(7)
		w.b = appendEntry(w.b, c.Before)
	}
	if c.After != nil {
		w.key(8)
		w.b = appendEntry(w.b, c.After)
	}
	if c.Origin != nil {
		w.key(9)
		w.b = appendOrigin(w.b, c.Origin)
	}
	return w.end(), nil
}

func appendOrigin(b []byte, o *efs.Origin) []byte {
	w := beginMap(b)
	w.text(1, o.Op)
	w.optional(2, o.Session)
	w.optional(3, o.Request)
	w.optional(4, o.From)
	w.optional(5, o.Method)
	if len(o.Name) > 0 {
		w.bytes(6, o.Name)
	}
	return w.end()
}

// entryRoom is at least what an entry without metadata takes, bytes.
func entryRoom(e *efs.Entry) int {
	return 128 + len(e.ETag) + len(e.Digest) + 80*len(e.Extents) + len(e.Type) + len(e.Owner) + len(e.Target) + len(e.Name)
}

// appendEntry encodes an entry without metadata.
func appendEntry(b []byte, e *efs.Entry) []byte {
	w := beginMap(b)
	w.bytes(1, e.File[:])
	w.uint(2, uint64(e.Kind))
	w.uint(3, e.Version)
	w.text(4, e.ETag)
	if e.Size != 0 {
		w.int(5, e.Size)
	}
	if len(e.Digest) > 0 {
		w.bytes(6, e.Digest)
	}
	w.nonzero(7, uint64(e.DigestKind))
	if len(e.Extents) > 0 {
		w.key(8)
		w.b = detcbor.AppendHead(w.b, majorArray, uint64(len(e.Extents)))
		for i := range e.Extents {
			w.b = appendExtent(w.b, &e.Extents[i])
		}
	}
	w.int(9, e.Created)
	w.int(10, e.Modified)
	w.optional(11, e.Type)
	w.optional(13, e.Owner)
	w.nonzero(14, uint64(e.Mode))
	w.optional(15, e.Target)
	w.text(16, e.Name)
	return w.end()
}

func appendExtent(b []byte, x *efs.Extent) []byte {
	w := beginMap(b)
	w.int(1, x.Offset)
	w.int(2, x.Length)
	w.int(3, x.Sealed)
	w.bytes(4, x.Content[:])
	if x.Inline {
		w.key(5)
		w.b = append(w.b, cborTrue...)
	}
	if x.Policy != 0 {
		w.int(6, int64(x.Policy))
	}
	if x.Epoch != 0 {
		w.int(7, int64(x.Epoch))
	}
	return w.end()
}

// mapWriter appends a map of at most 23 fields, in ascending order of keys. Its
// head, one byte, is written last.
type mapWriter struct {
	b  []byte
	at int
	n  byte
}

func beginMap(b []byte) mapWriter { return mapWriter{b: append(b, 0), at: len(b)} }

func (w *mapWriter) end() []byte {
	w.b[w.at] = majorMap<<5 | w.n
	return w.b
}

func (w *mapWriter) key(k uint64) {
	w.b = detcbor.AppendHead(w.b, majorUint, k)
	w.n++
}

func (w *mapWriter) uint(k, v uint64) {
	w.key(k)
	w.b = detcbor.AppendHead(w.b, majorUint, v)
}

func (w *mapWriter) nonzero(k, v uint64) {
	if v != 0 {
		w.uint(k, v)
	}
}

func (w *mapWriter) int(k uint64, v int64) {
	w.key(k)
	if v < 0 {
		w.b = detcbor.AppendHead(w.b, majorNint, uint64(-1-v))
	} else {
		w.b = detcbor.AppendHead(w.b, majorUint, uint64(v))
	}
}

func (w *mapWriter) bytes(k uint64, v []byte) {
	w.key(k)
	w.b = append(detcbor.AppendHead(w.b, majorBytes, uint64(len(v))), v...)
}

func (w *mapWriter) text(k uint64, v string) {
	w.key(k)
	w.b = append(detcbor.AppendHead(w.b, majorText, uint64(len(v))), v...)
}

// optional writes a text unless it is empty.
func (w *mapWriter) optional(k uint64, v string) {
	if v != "" {
		w.text(k, v)
	}
}
