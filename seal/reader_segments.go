package seal

import "fmt"

// next takes a run of segments and opens what is not open yet. Data of segments
// before one that fails is given out first.
func (r *Reader) next() error {
	if r.giving != nil {
		r.free = append(r.free, r.giving)
	}
	b := r.take()
	r.giving = b
	if b.err != nil {
		return b.err
	}
	full := int(r.lay.sealed())
	data := (*b.plain)[:0]
	if r.phase == kindData {
		data = data[:b.opened*int(r.lay.segment)]
		r.seen[kindData] += int64(b.opened)
		r.index += int64(b.opened)
	}
	var err error
	for r.index < b.first+int64(b.whole) && err == nil {
		i := int(r.index - b.first)
		data, err = r.openWhole(b, data, (*b.sealed)[i*full:(i+1)*full])
	}
	if err == nil && b.ended {
		data, err = r.openEnd(b, data, (*b.sealed)[b.whole*full:b.have])
	}
	if r.frames != nil {
		r.feed = data
	} else if len(data) > 0 {
		r.give(data)
	}
	return err
}

// openWhole opens a segment that is not the last. Which kind it is of is not
// written anywhere in clear: it is of the kind of the one before it or of one
// that may follow, and authenticates as that and nothing else.
func (r *Reader) openWhole(b *batch, data, sealed []byte) ([]byte, error) {
	if r.index >= MaxSegments {
		return data, fmt.Errorf("%w: more than %d segments", ErrFormat, int64(MaxSegments))
	}
	size := int(r.lay.segment)
	at := len(data)
	var first error
	for k := r.phase; k <= kindTrailer; k++ {
		plain, err := r.cipher.open((*b.plain)[:cap(*b.plain)][at:at:at+size], sealed, b.between(len(sealed)), &b.nonce, k, r.index, false)
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
func (r *Reader) openEnd(b *batch, data, sealed []byte) ([]byte, error) {
	if r.open.Size >= 0 && r.read != r.open.Size {
		return data, wrongSize(r.read, r.open.Size)
	}
	if len(sealed) <= int(r.lay.tags) {
		return data, fmt.Errorf("%w: it ends before a last segment", ErrTruncated)
	}
	at := len(data)
	spare := (*b.plain)[:cap(*b.plain)][at:at]
	plain, err := r.cipher.openLast(spare, sealed, b.between(len(sealed)), &b.nonce, r.index, r.phase, r.lay.sealed())
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
