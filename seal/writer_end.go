package seal

import "encoding/binary"

// Close seals the end of the file with r in its trailer, writes it, and waits
// until all is written. Making it durable is up to dst's owner. On error the
// sealed file is not complete and must be discarded.
func (w *Writer) Close(r Recovery) (Info, error) {
	if w.cipher == nil {
		return Info{}, ErrClosed
	}
	info, err := w.finish(r)
	if err != nil {
		w.err = err
	}
	w.release(err != nil)
	return info, err
}

func (w *Writer) finish(r Recovery) (Info, error) {
	if w.framed > 0 && w.err == nil {
		w.endFrame()
	}
	if w.err != nil {
		return Info{}, w.err
	}
	t := Trailer{Size: w.size, HasDigest: w.digest != nil, Recovery: r}
	_, t.SHA256 = w.Sum()
	record, err := t.record()
	if err != nil {
		return Info{}, err
	}
	w.lay.table = int64(len(w.frames)) * tableEntryLen
	w.lay.record = int64(len(record))
	w.lay.pad(w.header.Padding)
	w.putEnd(record)
	if w.err != nil {
		return Info{}, w.err
	}
	w.cur.seal(w.cipher, &w.lay)
	w.sealed += int64(len(w.cur.bytes(&w.lay)))
	w.cur.order = w.handed
	w.handed++
	w.deliver(w.cur)
	return Info{Size: w.size, SealedSize: w.sealed, SHA256: t.SHA256}, w.failure()
}

// putEnd writes everything after the last whole segment of data.
func (w *Writer) putEnd(record []byte) {
	if w.fill == int(w.lay.segment) {
		w.complete(kindData, w.fill, false)
	}
	if w.lay.tableSegments()+w.lay.paddingSegments() > 0 && w.err == nil {
		// The remainder of the data stream comes after these segments.
		kept := getBuffer(w.fill)
		copy(*kept, w.cur.slot(&w.lay))
		w.fill = 0
		perSegment := int(w.lay.segment) / tableEntryLen
		whole := int(w.lay.tableSegments()) * perSegment
		end := w.putTable(kindTable, w.frames[:whole], 0)
		w.endSegment(kindTable)
		w.putZeros(kindPadding, w.lay.paddingSegments()*w.lay.segment)
		w.endSegment(kindPadding)
		w.put(kindTrailer, *kept)
		w.putTable(kindTrailer, w.frames[whole:], end)
		wipe(*kept)
		putBuffer(kept)
	} else {
		w.putTable(kindTrailer, w.frames, 0)
	}
	w.putZeros(kindTrailer, w.lay.padding%w.lay.segment)
	w.put(kindTrailer, record)
	w.put(kindTrailer, w.lay.appendSuffix(nil))
	if w.err == nil {
		w.complete(kindTrailer, w.fill, true)
	}
}

// endSegment ends the current segment if it is full.
func (w *Writer) endSegment(k kind) {
	if w.fill > 0 {
		w.roll(k)
	}
}

// putTable writes the table's entries for frames, the first of which begins at
// offset at of the data stream, and returns where the last one ends.
func (w *Writer) putTable(k kind, frames []uint32, at uint64) uint64 {
	var b [tableEntryLen]byte
	for _, stored := range frames {
		at += frameHeadLen + uint64(stored)
		binary.BigEndian.PutUint64(b[:], at)
		w.put(k, b[:])
	}
	return at
}

func (w *Writer) putZeros(k kind, n int64) {
	var zeros [512]byte
	for n > 0 && w.err == nil {
		m := min(n, int64(len(zeros)))
		w.put(k, zeros[:m])
		n -= m
	}
}
