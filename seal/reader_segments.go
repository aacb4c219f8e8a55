package seal

import (
	"errors"
	"fmt"
	"io"
)

// next reads a run of segments and opens them. Data of segments before one that
// fails is given out first.
func (r *Reader) next() error {
	if err := r.fill(); err != nil {
		return err
	}
	full := int(r.lay.sealed())
	whole := r.have / full // leaves one byte: what follows must be seen first
	if r.ended {
		whole = max(0, r.have-1) / full // the last segment is apart
	}
	need := (whole + 1) * int(r.lay.segment)
	if cap(*r.run) < need {
		dropBuffer(r.run)
		r.run = getBuffer(need)
	}
	data := (*r.run)[:0]
	var err error
	for i := range whole {
		if data, err = r.openWhole(data, (*r.sealed)[i*full:(i+1)*full]); err != nil {
			break
		}
	}
	if err == nil && r.ended {
		data, err = r.openEnd(data, (*r.sealed)[whole*full:r.have])
	}
	if err == nil {
		r.have = copy(*r.sealed, (*r.sealed)[whole*full:r.have])
	}
	if r.frames != nil {
		r.feed = data
	} else if len(data) > 0 {
		r.give(data)
	}
	return err
}

// fill reads until sealed is full or src ends.
func (r *Reader) fill() error {
	n, err := io.ReadFull(r.src, (*r.sealed)[r.have:])
	r.have += n
	r.read += int64(n)
	if err == nil {
		if r.open.Size >= 0 && r.read > r.open.Size {
			return wrongSize(r.read, r.open.Size)
		}
		return nil
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("reading sealed file: %w", err)
	}
	r.ended = true
	return nil
}

// openWhole opens a segment that is not the last. Which kind it is of is not
// written anywhere in clear: it is of the kind of the one before it or of one
// that may follow, and authenticates as that and nothing else.
func (r *Reader) openWhole(data, sealed []byte) ([]byte, error) {
	if r.index >= MaxSegments {
		return data, fmt.Errorf("%w: more than %d segments", ErrFormat, int64(MaxSegments))
	}
	size := int(r.lay.segment)
	at := len(data)
	var first error
	for k := r.phase; k <= kindTrailer; k++ {
		plain, err := r.cipher.open((*r.run)[:cap(*r.run)][at:at:at+size], sealed, r.between(len(sealed)), &r.nonce, k, r.index, false)
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		r.phase = k
		r.seen[k]++
		r.index++
		switch k {
		case kindData:
			return data[:at+size], nil
		case kindTrailer:
			return data, r.keep(plain)
		}
		return data, nil
	}
	return data, first
}

// between is the scratch for what lies between the stages.
func (r *Reader) between(n int) []byte {
	if r.scratch == nil {
		return nil
	}
	return (*r.scratch)[:n]
}

// keep appends a segment to the end block.
func (r *Reader) keep(plain []byte) error {
	if int64(len(r.end.have)+len(plain)) > r.lay.maxEndBlock() {
		return fmt.Errorf("%w: the end block is too long", ErrFormat)
	}
	old := r.end.buf
	r.end.buf = getBuffer(len(r.end.have) + len(plain))
	n := copy(*r.end.buf, r.end.have)
	copy((*r.end.buf)[n:], plain)
	r.end.have = *r.end.buf
	if old != nil {
		dropBuffer(old)
	}
	return nil
}

// openEnd opens the last segment, reads the trailer, and checks that it tells
// of the segments that have been seen. It appends the rest of the data stream.
func (r *Reader) openEnd(data, sealed []byte) ([]byte, error) {
	if r.open.Size >= 0 && r.read != r.open.Size {
		return data, wrongSize(r.read, r.open.Size)
	}
	if len(sealed) <= int(r.lay.tags) {
		return data, fmt.Errorf("%w: it ends before a last segment", ErrTruncated)
	}
	at := len(data)
	spare := (*r.run)[:cap(*r.run)][at:at]
	plain, err := r.cipher.openLast(spare, sealed, r.between(len(sealed)), &r.nonce, r.index, r.phase, r.lay.sealed())
	if err != nil {
		return data, err
	}
	r.end.total = r.index*r.lay.segment + int64(len(plain))
	r.end.lay = &r.lay
	if err := r.keep(plain); err != nil {
		return data, err
	}
	done, err := r.end.parse(r.header, &r.open)
	if err == nil && (!done || r.seen[kindData] != r.lay.dataSegments() ||
		r.seen[kindTable] != r.lay.tableSegments() || r.seen[kindPadding] != r.lay.paddingSegments()) {
		err = fmt.Errorf("%w: the trailer does not tell of its segments", ErrFormat)
	}
	if err != nil {
		r.end.trailer = nil
		return data, err
	}
	return append(data, r.lay.dataRest(r.end.have)...), nil
}
