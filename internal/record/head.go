package record

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kdf"
)

// headSize is the length of an encoded head: file system, revision, sequence
// number, link and time.
const headSize = 16 + 8 + 8 + sha256.Size + 8

// Link returns HMAC-SHA-256(chain key, prev ‖ seq ‖ sealed), the link of
// change seq after one whose link is prev.
func (s *Sealer) Link(prev [32]byte, seq uint64, sealed []byte) [32]byte {
	var before [sha256.Size + 8]byte
	copy(before[:], prev[:])
	binary.BigEndian.PutUint64(before[sha256.Size:], seq)
	return kdf.MAC(s.link[:], before[:], sealed)
}

// SealHead seals h.
func (s *Sealer) SealHead(h efs.Head) []byte {
	b := make([]byte, 0, headSize)
	b = append(b, h.FS[:]...)
	b = binary.BigEndian.AppendUint64(b, h.Revision)
	b = binary.BigEndian.AppendUint64(b, h.Seq)
	b = append(b, h.Link[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Time))
	sealed, err := s.seal(s.head, forHead, nil, b)
	if err != nil {
		// AES with a key of the right length does not fail.
		panic("record: " + err.Error())
	}
	return sealed
}

// OpenHead returns what SealHead sealed, or efs.ErrDamaged.
func (s *Sealer) OpenHead(sealed []byte) (efs.Head, error) {
	b, err := s.open(s.head, forHead, nil, sealed, false)
	if err != nil {
		return efs.Head{}, fmt.Errorf("opening the head of the index: %w", err)
	}
	if len(b) != headSize {
		return efs.Head{}, fmt.Errorf("%w: head of %d bytes", efs.ErrDamaged, len(b))
	}
	h := efs.Head{FS: efs.ID(b[:16])}
	h.Revision = binary.BigEndian.Uint64(b[16:])
	h.Seq = binary.BigEndian.Uint64(b[24:])
	h.Link = [32]byte(b[32:64])
	h.Time = int64(binary.BigEndian.Uint64(b[64:]))
	if h.FS != s.fs {
		return efs.Head{}, fmt.Errorf("%w: head of file system %s", efs.ErrDamaged, h.FS)
	}
	return h, nil
}
