package seal

import (
	"fmt"
	"io"
)

// Suite is the AEAD that a stage seals segments with.
type Suite uint8

// The suites. Each has keys of 32, nonces of 12 and tags of 16 bytes.
const (
	AES256GCM        Suite = 1 // NIST SP 800-38D
	ChaCha20Poly1305 Suite = 2 // RFC 8439
)

// String returns the suite's name.
func (s Suite) String() string {
	switch s {
	case AES256GCM:
		return "AES-256-GCM"
	case ChaCha20Poly1305:
		return "ChaCha20-Poly1305"
	}
	return fmt.Sprintf("suite %d", uint8(s))
}

// Compression is what happens to the plaintext before it is sealed.
type Compression uint8

// The compressions. The size of what is sealed then depends on the contents;
// where an attacker chooses part of a file, that tells something about the rest.
const (
	CompressNone Compression = 0
	CompressZstd Compression = 1 // RFC 8878, frame by frame
)

// Padding is how the sealed length hides the length of what was sealed.
type Padding uint8

// The paddings.
const (
	PadNone  Padding = 0
	PadPadme Padding = 1 // Nikitin et al., PoPETs 2019 (PURBs): under 12 % more, O(log log n) bits told
)

// The limits of the format. A reader refuses what lies outside them before it
// does any work for it.
const (
	MinSegmentSize     = 1 << 10
	DefaultSegmentSize = 64 << 10
	MaxSegmentSize     = 1 << 20

	MinFrameSize     = 1 << 10
	DefaultFrameSize = 256 << 10
	MaxFrameSize     = 1 << 20

	MaxStages   = 8
	MaxSlots    = 32       // in all stages together
	MaxHeader   = 64 << 10 // bytes of CBOR
	MaxTrailer  = 64 << 10 // bytes of CBOR
	MaxSegments = 1 << 32
)

// Stage is one cipher and who gets its key. With several stages every segment
// is sealed by each in order, and all of their keys are needed to open it.
type Stage struct {
	Suite      Suite
	Recipients []Recipient
}

// Params says how to seal. It may be used again for the next file with another
// Content; FS and Content together must never name two different files.
type Params struct {
	FS, Content [16]byte    // what the file is bound to
	SegmentSize int         // a power of two; 0: DefaultSegmentSize
	Compression Compression //
	FrameSize   int         // plaintext bytes per compressed frame, a power of two; 0: DefaultFrameSize
	Padding     Padding     //
	NoDigest    bool        // leave out SHA-256 of the plaintext, which costs more than the sealing
	Stages      []Stage     // 1 to MaxStages

	rand io.Reader // fixed randomness, for test vectors; nil: crypto/rand
}

// Info is what a finished sealed file is like.
type Info struct {
	Size       int64    // of the plaintext, bytes
	SealedSize int64    // bytes written
	SHA256     [32]byte // of the plaintext; zero where NoDigest was asked for
}

// Recovery is the recovery record of the trailer: what is needed to put the
// file back in its place when there is no index any more. It is sealed with
// the contents. Zero fields are not stored.
type Recovery struct {
	Path     string            // at the time of writing
	File     [16]byte          // stable file id
	Version  uint64            //
	Extent   int               // of Extents, counted from 0
	Extents  int               //
	Seq      uint64            // change sequence number
	Created  int64             // Unix time, microseconds
	Modified int64             // Unix time, microseconds
	Type     string            // content type
	Meta     map[string]string // user metadata
	Owner    string            //
	Mode     uint32            // permission bits
}

// Trailer is what the authenticated end of a sealed file tells.
type Trailer struct {
	Size      int64    // of the plaintext, bytes
	HasDigest bool     //
	SHA256    [32]byte // of the plaintext, where HasDigest
	Padding   int64    // bytes of padding
	Recovery  Recovery
}

// Open says what is expected of a sealed file and which keys there are.
type Open struct {
	FS, Content [16]byte   // must be those of the file, unless Any
	Any         bool       // take the file for what its header says it is; for tools and for archives
	Identities  []Identity // tried in order on every slot
	Size        int64      // sealed length expected; -1: unknown
	PlainSize   int64      // plaintext length expected; -1: unknown
	CheckDigest bool       // compare SHA-256 of the plaintext before reporting its end (Reader, OpenBytes)
}
