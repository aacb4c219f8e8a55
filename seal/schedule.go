package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/efs-project/efs/internal/kdf"
	zero "github.com/efs-project/efs/internal/wipe"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	keyLen = 32 // file keys, payload keys, MAC keys
	tagLen = 16 // per stage and segment
)

// The labels of the key schedule. Each is followed by fields of fixed length.
const (
	labelPayload   = "efs/seal/1/payload"
	labelHeaderMAC = "efs/seal/1/header-mac"

	maxLabel = 32 // bytes of a label with its fields
)

// wipe overwrites key material or plaintext that is no longer needed.
func wipe(b []byte) { clear(b) }

// newAEAD makes the cipher of a suite.
func newAEAD(s Suite, key []byte) (cipher.AEAD, error) {
	switch s {
	case AES256GCM:
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		defer zero.Object(block) // NewGCM copies it
		return cipher.NewGCM(block)
	case ChaCha20Poly1305:
		return chacha20poly1305.New(key)
	}
	return nil, fmt.Errorf("%w: %v", ErrUnsupported, s)
}

// keySchedule derives everything from the file keys, one per stage, that lie
// one after another in fileKeys: the MAC of the header, which commits the file
// to its keys, and the segment ciphers.
//
//	salt        = SHA-256(magic ‖ length ‖ header)
//	MAC key     = HKDF-SHA256(all file keys, salt, labelHeaderMAC ‖ stages)
//	payload key = HKDF-SHA256(file key i, salt, labelPayload ‖ i ‖ suite)
//	MAC         = HMAC-SHA-256(MAC key, magic ‖ length ‖ header)
func keySchedule(h *Header, fileKeys []byte) (mac [macLen]byte, c *segmentCipher, err error) {
	defer zero.Stack()
	salt := sha256.Sum256(h.raw)
	all := kdf.Extract(fileKeys, salt[:])
	defer wipe(all[:])
	macKey := kdf.Expand(&all, label(labelHeaderMAC, byte(len(h.Stages))))
	defer wipe(macKey[:])
	mac = kdf.MAC(macKey[:], h.raw, nil)

	c = newSegmentCipher(h)
	for i, st := range h.Stages {
		if c.aeads[i], err = payloadCipher(&all, salt[:], fileKeys, i, len(h.Stages), st.Suite); err != nil {
			return mac, nil, err
		}
	}
	return mac, c, nil
}

// payloadCipher makes the cipher of a stage. all is what is extracted from all
// file keys together, which for a single stage is its own.
func payloadCipher(all *[keyLen]byte, salt, fileKeys []byte, stage, stages int, s Suite) (cipher.AEAD, error) {
	prk := *all
	if stages > 1 {
		prk = kdf.Extract(fileKeys[stage*keyLen:(stage+1)*keyLen], salt)
	}
	defer wipe(prk[:])
	key := kdf.Expand(&prk, label(labelPayload, byte(stage), byte(s)))
	defer wipe(key[:])
	return newAEAD(s, key[:])
}

// label is a label with its fields.
func label(name string, fields ...byte) []byte {
	return append(append(make([]byte, 0, maxLabel), name...), fields...)
}

// unlock finds the file keys with the identities, checks the header's MAC and
// returns the segment ciphers.
func unlock(h *Header, mac []byte, o *Open) (*segmentCipher, error) {
	if !o.Any && (h.FS != o.FS || h.Content != o.Content) {
		return nil, fmt.Errorf("%w: it belongs to another file system or content", ErrTampered)
	}
	var buf [MaxStages * keyLen]byte
	fileKeys := buf[:len(h.Stages)*keyLen]
	defer wipe(fileKeys)
	for i := range h.Stages {
		key, err := unwrapStage(h, i, o.Identities)
		if err != nil {
			return nil, err
		}
		copy(fileKeys[i*keyLen:], key)
		wipe(key)
	}
	want, c, err := keySchedule(h, fileKeys)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(want[:], mac) != 1 {
		c.wipe()
		return nil, fmt.Errorf("%w: its header does not match its keys", ErrTampered)
	}
	return c, nil
}

// unwrapStage tries every identity on every slot of a stage.
func unwrapStage(h *Header, stage int, ids []Identity) ([]byte, error) {
	st := &h.Stages[stage]
	ctx := Context{FS: h.FS, Content: h.Content, Stage: stage, Suite: st.Suite}
	for _, id := range ids {
		for _, s := range st.Slots {
			key, err := id.Unwrap(s, ctx)
			switch {
			case err == nil && len(key) == keyLen:
				return key, nil
			case err == nil:
				wipe(key)
				return nil, fmt.Errorf("%w: stage %d: a file key of wrong length", ErrFormat, stage)
			case !errors.Is(err, ErrNoKey):
				return nil, fmt.Errorf("unwrapping the key of stage %d: %w", stage, err)
			}
		}
	}
	return nil, fmt.Errorf("%w: stage %d", ErrNoKey, stage)
}

// sealHeader wraps fresh file keys for p's recipients and returns the header,
// its MAC and the segment ciphers.
func sealHeader(p *Params) (*Header, [macLen]byte, *segmentCipher, error) {
	var none [macLen]byte
	h, err := p.header()
	if err != nil {
		return nil, none, nil, err
	}
	fileKeys := make([]byte, len(p.Stages)*keyLen)
	defer wipe(fileKeys)
	if err := (Context{rand: p.rand}).random(fileKeys); err != nil {
		return nil, none, nil, fmt.Errorf("making file keys: %w", err)
	}
	for i, st := range p.Stages {
		ctx := Context{FS: p.FS, Content: p.Content, Stage: i, Suite: st.Suite, rand: p.rand}
		for j, rcpt := range st.Recipients {
			s, err := rcpt.Wrap(fileKeys[i*keyLen:(i+1)*keyLen], ctx)
			if err != nil {
				return nil, none, nil, fmt.Errorf("wrapping the key of stage %d: %w", i, err)
			}
			h.Stages[i].Slots[j] = s
		}
		if err := h.Stages[i].check(); err != nil {
			return nil, none, nil, fmt.Errorf("%w: %w", ErrParams, err)
		}
	}
	if err := h.encode(); err != nil {
		return nil, none, nil, err
	}
	mac, c, err := keySchedule(h, fileKeys)
	return h, mac, c, err
}

// header makes the header that p asks for, its slots still empty.
func (p *Params) header() (*Header, error) {
	h := &Header{
		FS: p.FS, Content: p.Content,
		SegmentSize: p.SegmentSize, Compression: p.Compression, Padding: p.Padding,
	}
	if h.SegmentSize == 0 {
		h.SegmentSize = DefaultSegmentSize
	}
	if h.Compression != CompressNone {
		if h.FrameSize = p.FrameSize; h.FrameSize == 0 {
			h.FrameSize = DefaultFrameSize
		}
	}
	if len(p.Stages) > MaxStages {
		return nil, fmt.Errorf("%w: %d stages, at most %d are allowed", ErrParams, len(p.Stages), MaxStages)
	}
	h.Stages = h.stages(len(p.Stages))
	slots := 0
	for i, st := range p.Stages {
		h.Stages[i] = HeaderStage{Suite: st.Suite, Slots: h.slots(slots, len(st.Recipients))}
		slots += len(st.Recipients)
	}
	if slots > MaxSlots {
		return nil, fmt.Errorf("%w: %d recipients, at most %d are allowed", ErrParams, slots, MaxSlots)
	}
	if err := h.check(h.FrameSize != 0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrParams, err)
	}
	return h, nil
}
