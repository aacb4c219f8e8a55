package journal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"
	"unsafe"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kdf"
)

// A file of the journal is a header and a sequence of chunks, each sealed
// under a key that is used for this file alone; see docs/journal.md. It is the
// STREAM construction (Hoang, Reyhanitabar, Rogaway and Vizár 2015) with chunks
// of different lengths: the nonce counts them and marks the last one.
const (
	headerLen      = 64   // of what is in the first block
	blockLen       = 4096 // in multiples of which everything is written
	chunkHeaderLen = 16
	chunkTag       = 16
	chunkSize      = 1 << 20            // of plaintext, unless one item is longer
	maxChunk       = 64<<20 + chunkSize // of plaintext
	formatVersion  = 1
	keyLabel       = "efs journal key"
)

var (
	fileMagic  = []byte("EFSJ")
	chunkMagic = []byte("EFJ")
)

// kind is what a file holds.
type kind byte

const (
	kindCheckpoint kind = 1
	kindLog        kind = 2
)

// What a chunk is.
const (
	chunkData byte = 'd'
	chunkEnd  byte = 'e' // the last one; the file was ended in order
)

// fileHeader is what can be read of a file without a key.
type fileHeader struct {
	kind   kind
	number uint64 // of the file in its directory; 0 outside of one
	fs     efs.ID
	salt   [32]byte // random
}

func (h *fileHeader) bytes() []byte {
	b := make([]byte, 0, headerLen)
	b = append(b, fileMagic...)
	b = append(b, formatVersion, byte(h.kind), 0, 0)
	b = binary.BigEndian.AppendUint64(b, h.number)
	b = append(b, h.fs[:]...)
	return append(b, h.salt[:]...)
}

func parseHeader(b []byte) (h fileHeader, err error) {
	switch {
	case len(b) < headerLen || !bytes.HasPrefix(b, fileMagic):
		return h, fmt.Errorf("%w: not a file of a journal", efs.ErrDamaged)
	case b[4] != formatVersion:
		return h, fmt.Errorf("%w: file of a journal of format %d, this version knows %d: use the version that wrote it", efs.ErrUnsupported, b[4], formatVersion)
	}
	h.kind, h.number = kind(b[5]), binary.BigEndian.Uint64(b[8:])
	copy(h.fs[:], b[16:])
	copy(h.salt[:], b[32:])
	return h, nil
}

// fileAEAD is AES-256-GCM under the key of one file: HKDF-SHA-256(key, salt =
// header, info = label). So a header that was altered opens nothing.
func fileAEAD(key, header []byte) (cipher.AEAD, error) {
	if len(key) != kdf.Size {
		return nil, fmt.Errorf("%w: the key of a journal has %d bytes, not %d", efs.ErrBadInput, len(key), kdf.Size)
	}
	k := kdf.HKDF(key, header, []byte(keyLabel))
	defer clear(k[:])
	block, err := aes.NewCipher(k[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func chunkNonce(kind byte, counter uint64) (n [12]byte) {
	n[0] = kind
	binary.BigEndian.PutUint64(n[4:], counter)
	return n
}

// align rounds up to whole blocks.
func align(n int64) int64 { return (n + blockLen - 1) &^ (blockLen - 1) }

// streamWriter seals chunks into a file, each with one write of whole blocks that
// lie on blocks in memory too, so that they can pass by the page cache. After
// an error it must not be used.
type streamWriter struct {
	w       io.Writer
	aead    cipher.AEAD
	counter uint64
	buf     []byte // aligned
	written int64  // bytes, header included
}

// blocks returns memory of whole blocks, on a block, with room for n bytes.
func blocks(n int) []byte {
	b := make([]byte, int(align(int64(n)))+blockLen)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (blockLen - 1)
	return b[skip : skip+len(b)-blockLen]
}

// newStreamWriter begins a file. The first write, of the header, comes with the
// first chunk.
func newStreamWriter(w io.Writer, key []byte, h fileHeader) (*streamWriter, error) {
	rand.Read(h.salt[:])
	header := h.bytes()
	aead, err := fileAEAD(key, header)
	if err != nil {
		return nil, err
	}
	block := blocks(headerLen)
	copy(block, header)
	n, err := w.Write(block)
	return &streamWriter{w: w, aead: aead, written: int64(n)}, err
}

// chunk writes one chunk of whole items.
func (s *streamWriter) chunk(kind byte, plain []byte) error {
	need := chunkHeaderLen + len(plain) + chunkTag
	if len(s.buf) < need {
		s.buf = blocks(need)
	}
	head := s.buf[:chunkHeaderLen]
	copy(head, chunkMagic)
	head[3] = kind
	binary.BigEndian.PutUint32(head[4:], uint32(len(plain)))
	binary.BigEndian.PutUint64(head[8:], s.counter)
	nonce := chunkNonce(kind, s.counter)
	s.aead.Seal(s.buf[chunkHeaderLen:chunkHeaderLen], nonce[:], plain, head)
	end := align(int64(need))
	clear(s.buf[need:end])
	n, err := s.w.Write(s.buf[:end])
	s.counter++
	s.written += int64(n)
	if len(s.buf) > 3*chunkSize {
		s.buf = nil
	}
	return err
}

// errTorn is the end of a file within a chunk.
var errTorn = errors.New("ends within a chunk")

// errAltered is a chunk that does not open.
var errAltered = fmt.Errorf("%w: a chunk does not open", efs.ErrDamaged)

// isLoss reports whether an error is about what a part of a file holds: that it
// ends within a chunk, was altered, or that the disk does not give it back.
func isLoss(err error) bool {
	return errors.Is(err, errTorn) || errors.Is(err, errAltered) || errors.Is(err, syscall.EIO)
}

// streamReader opens the chunks of a file.
type streamReader struct {
	r       io.Reader
	aead    cipher.AEAD
	head    fileHeader
	counter uint64
	at      int64 // in the file
	ended   bool
}

// openStream reads the header of a file. Nothing proves it before the first
// chunk.
func openStream(r io.Reader, key []byte) (*streamReader, error) {
	header := make([]byte, headerLen)
	if n, err := io.ReadFull(r, header); err != nil && !isEnd(err) {
		return nil, err
	} else if n < headerLen {
		return nil, fmt.Errorf("%w: file of a journal of %d bytes", efs.ErrDamaged, n)
	}
	h, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	s := &streamReader{r: r, head: h, at: blockLen}
	if s.aead, err = fileAEAD(key, header); err != nil {
		return nil, err
	}
	if err := s.skip(blockLen - headerLen); errors.Is(err, errTorn) {
		return nil, fmt.Errorf("%w: file of a journal that is cut off in its header", efs.ErrDamaged)
	} else if err != nil {
		return nil, err
	}
	return s, nil
}

func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// skip reads what fills a block. It is all zeros.
func (s *streamReader) skip(n int) error {
	var fill [blockLen]byte
	if _, err := io.ReadFull(s.r, fill[:n]); isEnd(err) {
		return errTorn
	} else if err != nil {
		return err
	}
	if fill != [blockLen]byte{} {
		return errAltered
	}
	return nil
}

// next returns the next chunk's plaintext, memory of its own. io.EOF: the file
// ends behind a whole chunk, or with its last one (ended). errTorn, errAltered.
func (s *streamReader) next() ([]byte, error) {
	if s.ended {
		return nil, io.EOF
	}
	var head [chunkHeaderLen]byte
	if n, err := io.ReadFull(s.r, head[:]); n == 0 && errors.Is(err, io.EOF) {
		return nil, io.EOF
	} else if isEnd(err) {
		return nil, errTorn
	} else if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[4:])
	if !bytes.HasPrefix(head[:], chunkMagic) || n > maxChunk || binary.BigEndian.Uint64(head[8:]) != s.counter {
		return nil, errAltered
	}
	sealed := make([]byte, int(n)+chunkTag)
	if _, err := io.ReadFull(s.r, sealed); isEnd(err) {
		return nil, errTorn
	} else if err != nil {
		return nil, err
	}
	nonce := chunkNonce(head[3], s.counter)
	plain, err := s.aead.Open(sealed[:0], nonce[:], sealed, head[:])
	if err != nil {
		return nil, errAltered
	}
	used := int64(chunkHeaderLen + len(sealed))
	if err := s.skip(int(align(used) - used)); err != nil {
		return nil, err
	}
	s.counter++
	s.at += align(used)
	s.ended = head[3] == chunkEnd
	return plain, nil
}
