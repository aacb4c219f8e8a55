package bolt

import (
	"errors"
	"io"
	"os"
	"slices"
)

// found is a record of the log that the file does not contain.
type found struct {
	recordMeta
	segment int
	at, end int
}

// recover reads what the log holds beyond the file, which names the log by
// position and has the given revision. It changes nothing. The generations are
// in order of age. efs.ErrDamaged if records are missing between those that
// are there.
func (w *wal) recover(position []byte, revision uint64) (gens []*generation, err error) {
	w.id, w.number, err = parseLogPosition(position)
	if err != nil || !w.inUse() {
		return nil, err
	}
	var segments [maxSegments][]byte
	var records []found
	some := false
	for i := range segments {
		if segments[i], err = readSegment(segmentPath(w.path, i)); err != nil {
			return nil, err
		}
		some = some || len(segments[i]) > 0
		records = append(records, w.find(i, segments[i])...)
	}
	if !some {
		return nil, damaged("the index's log is missing: put '%s' and its neighbours back", segmentPath(w.path, 0))
	}
	slices.SortFunc(records, func(a, b found) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	var g *generation
	op := uint64(0)
	for _, r := range records {
		if r.number != w.number+1 || r.before != revision {
			err = damaged("record %d of the index's log cannot be read, but later ones can", w.number+1)
			break
		}
		if g == nil || g.segment != r.segment {
			if slices.ContainsFunc(gens, func(g *generation) bool { return g.segment == r.segment }) {
				err = damaged("record %d of the index's log lies out of order", r.number)
				break
			}
			g, err = recoverGeneration(r.segment, segments[r.segment], records)
			if err != nil {
				break
			}
			gens = append(gens, g)
		}
		if err = g.replay(r, &op); err != nil {
			break
		}
		w.number, revision = r.number, r.after
	}
	if err != nil {
		for _, g := range gens {
			g.release()
		}
		return nil, err
	}
	return gens, nil
}

// readSegment returns a segment's contents, nil if there is none.
func readSegment(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|noFollow, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // was read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxRecovered {
		return nil, damaged("'%s' is no segment of a log", path)
	}
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, err
	}
	return b, nil
}

// maxRecovered bounds a segment, and with it the memory that reading takes.
const maxRecovered = 64 << 20

// find returns the records in a segment that are of this log and not in the
// file.
func (w *wal) find(segment int, b []byte) (records []found) {
	for at := 0; at+recordHeader <= len(b); {
		m, n, ok := openRecord(b[at:])
		if !ok {
			at += recordAlign
			continue
		}
		if m.log == w.id && m.number > w.number {
			records = append(records, found{m, segment, at, at + n})
		}
		at = align(at + n)
	}
	return records
}

// recoverGeneration makes the generation of a segment, without the records.
func recoverGeneration(segment int, b []byte, records []found) (*generation, error) {
	ops := uint64(0)
	for _, r := range records {
		if r.segment == segment {
			ops += r.ops
		}
	}
	if ops > uint64(len(b)) {
		return nil, damaged("segment of the index's log claims %d operations", ops)
	}
	g := &generation{segment: segment}
	if err := g.prepare(len(b), int(ops)); err != nil {
		return nil, err
	}
	copy(g.data, b)
	return g, nil
}

// replay enters the operations of a record. Those before lie before it.
func (g *generation) replay(r found, op *uint64) error {
	if r.at < g.used {
		return damaged("record %d of the index's log lies out of order", r.number)
	}
	ops := r.ops
	ok := eachOp(g.data[r.at:r.end], func(at, keyLen int, valLen uint32) {
		if ops > 0 {
			ops--
			*op++
			g.index(*op, r.at+at, keyLen, valLen)
		}
	})
	if !ok || ops > 0 {
		return damaged("record %d of the index's log makes no sense", r.number)
	}
	g.used = min(align(r.end), len(g.data))
	g.batches, g.last = g.batches+1, r.number
	g.pending.Store(int64(g.used))
	return nil
}

// settle writes and syncs what was recovered once more: a run that was stopped
// by a failed sync leaves pages that are not on the disk and look as if they
// were.
func (w *wal) settle(gens []*generation) error {
	for _, g := range gens {
		if _, err := w.open(g.segment, 0, 0); err != nil {
			return err
		}
		if _, err := w.append(g.segment, g.data[:g.used], 0); err != nil {
			return err
		}
	}
	return nil
}
