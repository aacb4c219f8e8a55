package fsys

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/keyring"
	"github.com/efs-project/efs/seal"
)

// Keys in SpaceMeta begin with what they are for.
const (
	metaPolicy   = 'p' // ‖ version, 4 bytes: a policy
	metaDetached = 'd' // ‖ directory id: a directory to be emptied
)

func policyKey(version int) []byte {
	return binary.BigEndian.AppendUint32([]byte{metaPolicy}, uint32(version))
}

// maxInline bounds the inline limit: what is inline is read and sealed whole.
const maxInline = 1 << 20

// maxStages bounds the stages of a policy: each seals every byte once more.
const maxStages = 4

// CheckPolicy judges whether a policy holds together: efs.ErrBadInput. Whether
// its keys are there is not looked at.
func CheckPolicy(p efs.Policy) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: policy: "+format, append([]any{efs.ErrBadInput}, args...)...)
	}
	if p.Version < 1 {
		return bad("version %d, the first is 1", p.Version)
	}
	if len(p.Stages) == 0 || len(p.Stages) > maxStages {
		return bad("%d stages, 1 to %d are allowed", len(p.Stages), maxStages)
	}
	for _, st := range p.Stages {
		if st.Provider == "" || st.KeyID == "" {
			return bad("a stage without a provider or a key, such as local/default")
		}
		if _, err := suite(st.Algorithm); err != nil {
			return err
		}
	}
	if _, err := compression(p.Compression); err != nil {
		return err
	}
	if _, err := padding(p.Padding); err != nil {
		return err
	}
	if p.InlineLimit < 0 || p.InlineLimit > maxInline {
		return bad("inline limit of %d bytes, 0 to %d are allowed", p.InlineLimit, maxInline)
	}
	if s := p.SegmentSize; s < seal.MinSegmentSize || s > seal.MaxSegmentSize || s&(s-1) != 0 {
		return bad("segment size of %d bytes, a power of two from %d to %d is needed", s, seal.MinSegmentSize, seal.MaxSegmentSize)
	}
	if p.Recovery != "" {
		if _, err := keyring.ParseRecovery(p.Recovery); err != nil {
			return fmt.Errorf("policy: %w", err)
		}
	}
	_, err := ParseUnitPattern(p.ErasureUnit)
	return err
}

func suite(algorithm string) (seal.Suite, error) {
	switch algorithm {
	case efs.AES256:
		return seal.AES256GCM, nil
	case efs.ChaCha20Poly1305:
		return seal.ChaCha20Poly1305, nil
	}
	return 0, fmt.Errorf("%w: policy: algorithm '%s' is not known; %s and %s are", efs.ErrBadInput, algorithm, efs.AES256, efs.ChaCha20Poly1305)
}

func compression(name string) (seal.Compression, error) {
	switch name {
	case "none":
		return seal.CompressNone, nil
	case "zstd":
		return seal.CompressZstd, nil
	}
	return 0, fmt.Errorf("%w: policy: compression '%s' is not known; none and zstd are", efs.ErrBadInput, name)
}

func padding(name string) (seal.Padding, error) {
	switch name {
	case "none":
		return seal.PadNone, nil
	case "padme":
		return seal.PadPadme, nil
	}
	return 0, fmt.Errorf("%w: policy: padding '%s' is not known; none and padme are", efs.ErrBadInput, name)
}

// newestPolicy reads the policy history and returns its last.
func (fs *FS) newestPolicy(ctx context.Context) (p efs.Policy, err error) {
	var after []byte
	for {
		recs, err := fs.o.Index.Scan(ctx, efs.SpaceMeta, []byte{metaPolicy}, after, 64)
		if err != nil {
			return p, err
		}
		if len(recs) == 0 {
			break
		}
		last := recs[len(recs)-1]
		var rec policyRecord
		if err := fs.open(efs.SpaceMeta, last.Key, last.Sealed, &rec); err != nil {
			return p, fmt.Errorf("policy of file system '%s': %w", fs.o.Name, err)
		}
		p, after = rec.Policy, last.Key
	}
	if after == nil {
		return p, fmt.Errorf("file system '%s': %w: its index has no policy", fs.o.Name, efs.ErrDamaged)
	}
	return p, CheckPolicy(p)
}
