package archive

import (
	"crypto/rand"
	"fmt"
	"io"

	"github.com/efs-project/efs/seal"
)

// realm stands in a sealed archive's header in place of a file system's id, so
// that archives are told from other sealed files, and say nothing of where they
// come from.
var realm = [16]byte{'e', 'f', 's', '/', 'a', 'r', 'c', 'h', 'i', 'v', 'e'}

// NewSealer seals an archive that is written to it, to w: to all of the
// recipients, any one of whom opens it; a passphrase must be the only one.
// Close of the seal.Writer ends it.
func NewSealer(w io.Writer, recipients ...seal.Recipient) (*seal.Writer, error) {
	p := &seal.Params{
		FS:          realm,
		SegmentSize: seal.DefaultSegmentSize,
		Compression: seal.CompressZstd,
		FrameSize:   seal.MaxFrameSize,
		NoDigest:    true, // every segment is authenticated, every file has a digest of its own
		Stages:      []seal.Stage{{Suite: seal.AES256GCM, Recipients: recipients}},
	}
	if _, err := rand.Read(p.Content[:]); err != nil {
		return nil, fmt.Errorf("naming the archive: %w", err)
	}
	return seal.NewWriter(w, p)
}

// expect takes any archive for which there is a key.
func expect(ids []seal.Identity) *seal.Open {
	return &seal.Open{Any: true, Identities: ids, Size: -1, PlainSize: -1}
}

// check refuses sealed files that are something else.
func check(h *seal.Header) error {
	if h.FS != realm {
		return fmt.Errorf("%w: it is a sealed file of another kind", ErrFormat)
	}
	return nil
}
