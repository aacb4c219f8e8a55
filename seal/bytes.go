package seal

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// SealBytes seals plaintext, appends the sealed file to dst and returns the
// extended slice: what a Writer makes, in one pass, for what is in memory
// anyway. dst must not overlap plaintext.
func SealBytes(dst, plaintext []byte, p *Params, r Recovery) (sealed []byte, info Info, err error) {
	h, mac, c, err := sealHeader(p)
	if err != nil {
		return dst, Info{}, err
	}
	defer c.wipe()
	t := Trailer{Size: int64(len(plaintext)), HasDigest: !p.NoDigest, Recovery: r}
	if t.HasDigest {
		t.SHA256 = sha256.Sum256(plaintext)
	}
	record, err := t.record()
	if err != nil {
		return dst, Info{}, err
	}
	data, table := plaintext, []byte(nil)
	if h.Compression != CompressNone {
		data, table = packFrames(plaintext, h.FrameSize)
		defer wipe(data)
	}
	l := layout{segment: int64(h.SegmentSize), tags: int64(c.overhead()), data: int64(len(data)), table: int64(len(table)), record: int64(len(record))}
	l.pad(h.Padding)
	info = Info{Size: t.Size, SealedSize: int64(h.Size()) + l.physical(), SHA256: t.SHA256}
	if n := l.segments(l.payload()); n > MaxSegments {
		return dst, Info{}, fmt.Errorf("%w: more than %d segments", ErrParams, int64(MaxSegments))
	}
	dst = grow(dst, int(info.SealedSize))
	dst = append(append(dst, h.raw...), mac[:]...)
	return appendSegments(dst, c, &l, data, table, record), info, nil
}

// packFrames compresses plaintext into a data stream and its frame table.
func packFrames(plaintext []byte, frameSize int) (data, table []byte) {
	data = make([]byte, 0, len(plaintext)+frameHeadLen*(len(plaintext)/frameSize+1))
	for len(plaintext) > 0 {
		n := min(frameSize, len(plaintext))
		data = appendFrame(data, plaintext[:n])
		table = binary.BigEndian.AppendUint64(table, uint64(len(data)))
		plaintext = plaintext[n:]
	}
	return data, table
}

// appendSegments seals a payload, of which all parts are at hand, to dst, which
// has room for it.
func appendSegments(dst []byte, c *segmentCipher, l *layout, data, table, record []byte) []byte {
	n := nonces.Get().(*nonce)
	defer nonces.Put(n)
	size := int(l.segment)
	index := int64(0)
	put := func(k kind, plain []byte) {
		sealed := c.seal(dst[len(dst):cap(dst)], plain, n, k, index, false)
		dst = dst[:len(dst)+len(sealed)]
		index++
	}
	for ; len(data) >= size; data = data[size:] {
		put(kindData, data[:size])
	}
	for ; len(table) >= size; table = table[size:] {
		put(kindTable, table[:size])
	}
	if l.paddingSegments() > 0 {
		zeros := make([]byte, size)
		for range l.paddingSegments() {
			put(kindPadding, zeros)
		}
	}
	// The end block is put together where its first segment is sealed, if that
	// is its only one; else apart.
	at, length := len(dst), int(l.endBlock())
	end := dst[at:at]
	if length > size {
		end = make([]byte, 0, length)
		defer func() { wipe(end) }()
	}
	end = append(append(end, data...), table...)
	end = append(end, make([]byte, l.padding%l.segment)...)
	end = append(end, record...)
	end = l.appendSuffix(end)
	for rest := end; ; rest = rest[size:] {
		if len(rest) <= size {
			sealed := c.seal(dst[len(dst):cap(dst)], rest, n, kindTrailer, index, true)
			return dst[:len(dst)+len(sealed)]
		}
		put(kindTrailer, rest[:size])
	}
}

// OpenBytes opens a whole sealed file, appends the plaintext to dst and returns
// the extended slice and the trailer. Every segment is authenticated before
// anything is returned; on error dst is returned as it was. dst must not overlap
// sealed; its room beyond what is returned is used as scratch, and wiped.
// Errors: those of NewReaderAt.
func OpenBytes(dst, sealed []byte, o *Open) (plaintext []byte, t *Trailer, err error) {
	var r ReaderAt
	if err := r.unlockBytes(sealed, o); err != nil {
		return dst, nil, err
	}
	if r.count == 1 && r.header.Compression == CompressNone {
		at := len(dst)
		dst = grow(dst, int(r.last))
		plain, t, err := r.openOnly(dst[at:at:cap(dst)], sealed[r.start:])
		return dst[:at+len(plain)], t, err
	}
	return r.openAll(dst)
}

// openAll is OpenBytes for a file of several segments, or with compression. It
// works on a copy of u, which so need not be allocated for a small file.
func (u *ReaderAt) openAll(dst []byte) (plaintext []byte, t *Trailer, err error) {
	r := &ReaderAt{
		mem: u.mem, header: u.header, cipher: u.cipher, open: u.open, lay: u.lay,
		size: u.size, start: u.start, count: u.count, last: u.last,
	}
	defer r.Close()
	if err := r.measure(); err != nil {
		return dst, nil, err
	}
	if err := r.load(); err != nil {
		return dst, nil, err
	}
	if err := r.checkRest(); err != nil {
		return dst, nil, err
	}
	at, size := len(dst), int(r.Size())
	out := grow(dst, size)[:at+size]
	if err := r.readPlain(out[at:], 0); err != nil {
		wipe(out[at:])
		return dst, nil, err
	}
	if err := r.checkDigest(out[at:]); err != nil {
		wipe(out[at:])
		return dst, nil, err
	}
	return out, r.trailer, nil
}

// OpenInPlace is OpenBytes for a small file whose sealed form is not needed any
// more: sealed is overwritten, also on failure, and the plaintext lies in it. A
// file of several segments, or with compression, gets memory of its own.
func OpenInPlace(sealed []byte, o *Open) (plaintext []byte, t *Trailer, err error) {
	var r ReaderAt
	if err := r.unlockBytes(sealed, o); err != nil {
		return nil, nil, err
	}
	if r.count != 1 || r.header.Compression != CompressNone {
		return r.openAll(nil)
	}
	// Whether a whole segment is one before the last is found out by trying,
	// for which it must be left as it is.
	if r.last == r.lay.sealed() {
		r.cipher.wipe()
		return OpenBytes(nil, sealed, o)
	}
	return r.openOnly(sealed[r.start:r.start], sealed[r.start:])
}

// unlockBytes checks the header of a sealed file that is at hand.
func (r *ReaderAt) unlockBytes(sealed []byte, o *Open) error {
	hlen, err := parsePreamble(sealed)
	if err != nil {
		return err
	}
	need := preambleLen + hlen + macLen
	if need > len(sealed) {
		return fmt.Errorf("%w: it ends within the header", ErrTruncated)
	}
	r.mem = sealed
	return r.unlock(sealed[:need], int64(len(sealed)), o)
}

// openOnly opens the only segment of a file without compression to dst, which
// has room for it, or is the segment itself. What follows the plaintext there
// is wiped. It returns the plaintext alone.
func (r *ReaderAt) openOnly(dst, sealed []byte) ([]byte, *Trailer, error) {
	defer r.cipher.wipe()
	between := sealed // not needed with one stage
	if len(r.cipher.aeads) > 1 {
		buf := getBuffer(len(sealed))
		defer putBuffer(buf)
		between = *buf
	}
	n := nonces.Get().(*nonce)
	defer nonces.Put(n)
	block, err := r.cipher.openLast(dst, sealed, between, n, 0, kindData, r.lay.sealed())
	if err != nil {
		return nil, nil, err
	}
	end := endBlock{lay: &r.lay, total: int64(len(block)), have: block}
	_, err = end.parse(r.header, &r.open) // all of it is there: it has no earlier segment
	if r.trailer = end.trailer; err == nil {
		err = r.checkDigest(block[:r.lay.data])
	}
	if err != nil {
		wipe(block)
		return nil, nil, err
	}
	wipe(block[r.lay.data:])
	return block[:r.lay.data], r.trailer, nil
}

// checkDigest compares the whole plaintext with the trailer's digest, if that
// was asked for.
func (r *ReaderAt) checkDigest(plain []byte) error {
	if r.open.CheckDigest && r.trailer.HasDigest && sha256.Sum256(plain) != r.trailer.SHA256 {
		return fmt.Errorf("%w: SHA-256 of the contents differs", ErrTampered)
	}
	return nil
}
