package seal

import "io"

// KeyRecipient wraps file keys under k.
func KeyRecipient(k KEK) Recipient                             { return nil }
func KeyIdentity(find func(id [16]byte) (KEK, error)) Identity { return nil }

type Argon2Params struct {
	Time, MemoryKiB uint32
	Threads         uint8
}
type Argon2Limits struct {
	Time, MemoryKiB uint32
	Threads         uint8
}

func PassphraseRecipient(pass []byte, p Argon2Params) (Recipient, error) { return nil, ErrUnsupported }
func PassphraseIdentity(pass []byte, limit Argon2Limits) Identity        { return nil }

type PublicKey struct{}
type PrivateKey struct{}

func GenerateKeyPair() (*PrivateKey, error)      { return nil, ErrUnsupported }
func ParseRecipient(s string) (Recipient, error) { return nil, ErrUnsupported }
func ParseIdentity(s string) (Identity, error)   { return nil, ErrUnsupported }

type Header struct {
	FS, Content [16]byte
	SegmentSize int
	Compression Compression
	FrameSize   int
	Padding     Padding
	Stages      []HeaderStage
}
type HeaderStage struct {
	Suite Suite
	Slots []Slot
}

func ReadHeader(r io.Reader) (*Header, error) { return nil, ErrUnsupported }

type Writer struct{}

func NewWriter(dst io.Writer, p *Params) (*Writer, error) { return nil, ErrUnsupported }
func (w *Writer) Write(b []byte) (int, error)             { return 0, ErrUnsupported }
func (w *Writer) ReadFrom(r io.Reader) (int64, error)     { return 0, ErrUnsupported }
func (w *Writer) Sum() (size int64, sha256 [32]byte)      { return }
func (w *Writer) Close(r Recovery) (Info, error)          { return Info{}, ErrUnsupported }
func (w *Writer) Abort()                                  {}
func SealBytes(dst, plaintext []byte, p *Params, r Recovery) ([]byte, Info, error) {
	return nil, Info{}, ErrUnsupported
}
func OpenBytes(dst, sealed []byte, o *Open) ([]byte, *Trailer, error) {
	return nil, nil, ErrUnsupported
}

type Reader struct{}

func NewReader(src io.Reader, o *Open) (*Reader, error) { return nil, ErrUnsupported }
func (r *Reader) Read(b []byte) (int, error)            { return 0, ErrUnsupported }
func (r *Reader) WriteTo(w io.Writer) (int64, error)    { return 0, ErrUnsupported }
func (r *Reader) Header() *Header                       { return nil }

// Trailer is nil before io.EOF.
func (r *Reader) Trailer() *Trailer  { return nil }
func (r *Reader) Info() Info         { return Info{} }
func (r *Reader) Recovery() Recovery { return Recovery{} }
func (r *Reader) Close() error       { return nil }

type ReaderAt struct{}

func NewReaderAt(src io.ReaderAt, sealedSize int64, o *Open) (*ReaderAt, error) {
	return nil, ErrUnsupported
}
func (r *ReaderAt) ReadAt(b []byte, off int64) (int, error)   { return 0, ErrUnsupported }
func (r *ReaderAt) Size() int64                               { return 0 }
func (r *ReaderAt) ReadRange(w io.Writer, off, n int64) error { return ErrUnsupported }
func (r *ReaderAt) Verify() error                             { return ErrUnsupported }
func (r *ReaderAt) Header() *Header                           { return nil }
func (r *ReaderAt) Trailer() (*Trailer, error)                { return nil, ErrUnsupported }
func (r *ReaderAt) Recovery() (Recovery, error)               { return Recovery{}, ErrUnsupported }
func (r *ReaderAt) Close() error                              { return nil }
