package seal

import "fmt"

// endBlock is the end of the payload while it is put together: what is left of
// the data stream, of the frame table and of the padding, the trailer record
// and the suffix. It is known from its end, where the suffix lies.
type endBlock struct {
	lay     *layout
	total   int64   // length of the payload
	buf     *[]byte // holds have
	have    []byte  // the last bytes of the payload
	trailer *Trailer
}

// parse reads the suffix and, once the whole block is there, the trailer. It
// returns false as long as an earlier segment of the block is missing.
func (e *endBlock) parse(h *Header, o *Open) (done bool, err error) {
	if len(e.have) < suffixLen && int64(len(e.have)) < e.total {
		return false, nil
	}
	if len(e.have) < suffixLen {
		return false, fmt.Errorf("%w: no room for a trailer", ErrFormat)
	}
	if err := e.lay.readSuffix(e.have, e.total); err != nil {
		return false, err
	}
	switch want := e.lay.endBlock(); {
	case int64(len(e.have)) < want:
		return false, nil
	case int64(len(e.have)) > want:
		return false, fmt.Errorf("%w: the end block is longer than its parts", ErrFormat)
	}
	at := len(e.have) - suffixLen
	t, err := parseRecord(e.have[at-int(e.lay.record) : at])
	if err != nil {
		return false, err
	}
	t.Padding = e.lay.padding
	e.trailer = t
	return true, e.check(h, o)
}

// check compares what the trailer tells with the header and with what the
// caller expects.
func (e *endBlock) check(h *Header, o *Open) error {
	want := *e.lay
	want.pad(h.Padding)
	if want.padding != e.lay.padding {
		return fmt.Errorf("%w: the padding is not what the header says", ErrFormat)
	}
	frames := int64(0)
	if h.Compression != CompressNone {
		frames = (e.trailer.Size-1)/int64(h.FrameSize) + 1
		if e.trailer.Size == 0 {
			frames = 0
		}
	} else if e.trailer.Size != e.lay.data {
		return fmt.Errorf("%w: the trailer's size is not that of the data", ErrFormat)
	}
	if e.lay.table != frames*tableEntryLen {
		return fmt.Errorf("%w: the frame table does not fit the size", ErrFormat)
	}
	if o.PlainSize >= 0 && o.PlainSize != e.trailer.Size {
		return fmt.Errorf("%w: it holds %d bytes where there should be %d", ErrTampered, e.trailer.Size, o.PlainSize)
	}
	return nil
}

// prepend puts an earlier segment before what is there.
func (e *endBlock) prepend(plain []byte) {
	b := getBuffer(len(plain) + len(e.have))
	copy(*b, plain)
	copy((*b)[len(plain):], e.have)
	e.drop()
	e.buf, e.have = b, *b
}

// drop wipes the block and gives its buffer back.
func (e *endBlock) drop() {
	wipe(*e.buf)
	putBuffer(e.buf)
}

// dataRest and tableRest are what is left of the two streams after their whole
// segments.
func (l *layout) dataRest(end []byte) []byte { return end[:l.data%l.segment] }

func (l *layout) tableRest(end []byte) []byte {
	at := l.data % l.segment
	return end[at : at+l.table%l.segment]
}
