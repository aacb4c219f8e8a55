package starter

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"
	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

// Shares of a starter key are those of Shamir's secret sharing ("How to Share
// a Secret", 1979) over the scalars of ristretto255 (RFC 9496), each half of
// the key by itself. docs/keys.md gives the bytes.
const (
	sharePrefix  = "efs-share1-"
	shareVersion = 1
	shareLabel   = "efs starter share\x00"
	shareSize    = 1 + 16 + 4 + 4 + 1 + 1 + 2*scalarSize + shareSum
	shareSum     = 4
	scalarSize   = 32
	half         = secret.Size / 2

	// MaxShares is into how many shares a key can be split.
	MaxShares = 32
)

const shareAlphabet = "abcdefghijklmnopqrstuvwxyz234567"

var shareText = base32.NewEncoding(shareAlphabet).WithPadding(base32.NoPadding)

// Share is one share of a starter key. Destroy wipes it.
type Share struct {
	Root       efs.ID
	Generation uint32
	Set        [4]byte // of the shares that were made together
	Threshold  int     // how many of them give the key
	Number     int     // from 1

	halves [2]*secret.Key // scalars, little-endian
}

// CheckShares is nil if a key can be split into total shares of which
// threshold give it back, else efs.ErrBadInput.
func CheckShares(total, threshold int) error {
	if threshold < 2 || total < threshold || total > MaxShares {
		return fmt.Errorf("%w: %d shares of which %d are needed: at least 2 must be needed, and there are at most %d",
			efs.ErrBadInput, total, threshold, MaxShares)
	}
	return nil
}

// Split returns the texts of total shares of k, any threshold of which give
// it back, and of which fewer tell nothing. They name the root and the
// generation of the key that they are of. The caller wipes them.
// efs.ErrBadInput.
func Split(k *secret.Key, root efs.ID, generation uint32, total, threshold int) ([][]byte, error) {
	if err := CheckShares(total, threshold); err != nil {
		return nil, err
	}
	head := append([]byte{shareVersion}, root[:]...)
	head = binary.BigEndian.AppendUint32(head, generation)
	set := make([]byte, 4)
	_, _ = rand.Read(set)
	head = append(append(head, set...), byte(threshold))
	bodies := make([][]byte, total)
	defer secret.WipeAll(bodies)
	for i := range bodies {
		bodies[i] = append(append(make([]byte, 0, shareSize), head...), byte(i+1))
	}
	var err error
	for part := range 2 {
		if werr := k.With(func(key []byte) { err = splitHalf(key[part*half:][:half], threshold, bodies) }); werr != nil {
			return nil, werr
		}
		if err != nil {
			return nil, err
		}
	}
	texts := make([][]byte, total)
	for i, b := range bodies {
		bodies[i] = append(b, shareCheck(b)...)
		texts[i] = shareLine(bodies[i])
	}
	return texts, nil
}

// splitHalf appends a share of half a key to each body.
func splitHalf(key []byte, threshold int, bodies [][]byte) error {
	le := make([]byte, scalarSize)
	defer secret.Wipe(le)
	copy(le, key)
	slices.Reverse(le[:half])
	s := group.Ristretto255.NewScalar()
	defer s.SetUint64(0)
	if err := s.UnmarshalBinary(le); err != nil {
		return err
	}
	shares := secretsharing.New(rand.Reader, uint(threshold-1), s).Share(uint(len(bodies)))
	for i, share := range shares {
		value, err := share.Value.MarshalBinary()
		if err != nil {
			return err
		}
		bodies[i] = append(bodies[i], value...)
		secret.Wipe(value)
		share.Value.SetUint64(0)
	}
	return nil
}

func shareCheck(b []byte) []byte {
	sum := sha256.Sum256(append([]byte(shareLabel), b...))
	return sum[:shareSum]
}

// shareLine is the text of a share: base32 with a dash after each 8
// characters, for those who type it.
func shareLine(body []byte) []byte {
	text := make([]byte, shareText.EncodedLen(len(body)))
	defer secret.Wipe(text)
	shareText.Encode(text, body)
	line := append(make([]byte, 0, len(sharePrefix)+len(text)*9/8), sharePrefix...)
	for i, group := range slices.Collect(slices.Chunk(text, 8)) {
		if i > 0 {
			line = append(line, '-')
		}
		line = append(line, group...)
	}
	return line
}

// IsShare reports whether a text looks like a share and not like a key.
func IsShare(text string) bool {
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(text)), "efs-share")
}

// ParseShare reads a share: upper or lower case, with or without dashes and
// white space after the prefix. The caller wipes it. efs.ErrBadInput.
func ParseShare(text []byte) (*Share, error) {
	clean := make([]byte, 0, len(text))
	defer func() { secret.Wipe(clean) }()
	for _, c := range text {
		switch {
		case c >= 'A' && c <= 'Z':
			clean = append(clean, c+'a'-'A')
		case !strings.ContainsRune("- \t\r\n", rune(c)):
			clean = append(clean, c)
		}
	}
	rest, ok := bytes.CutPrefix(clean, []byte(strings.ReplaceAll(sharePrefix, "-", "")))
	if !ok {
		if bytes.HasPrefix(clean, []byte("efsshare")) {
			return nil, fmt.Errorf("%w: this share has another version than this program knows", efs.ErrBadInput)
		}
		return nil, fmt.Errorf("%w: a share begins with %s", efs.ErrBadInput, sharePrefix)
	}
	b, err := decodeShare(rest)
	defer secret.Wipe(b)
	if err != nil || len(b) != shareSize {
		return nil, fmt.Errorf("%w: a share has %d letters and digits 2 to 7 after %s; this one has other ones, or another number of them",
			efs.ErrBadInput, shareText.EncodedLen(shareSize), sharePrefix)
	}
	body, sum := b[:shareSize-shareSum], b[shareSize-shareSum:]
	if !bytes.Equal(shareCheck(body), sum) || body[0] != shareVersion {
		return nil, fmt.Errorf("%w: this share has a typing mistake: its checksum does not fit", efs.ErrBadInput)
	}
	s := &Share{Root: efs.ID(body[1:17]), Generation: binary.BigEndian.Uint32(body[17:]), Set: [4]byte(body[21:25]), Threshold: int(body[25]), Number: int(body[26])}
	if s.Number == 0 || CheckShares(MaxShares, s.Threshold) != nil {
		return nil, fmt.Errorf("%w: this is no share that EFS made", efs.ErrBadInput)
	}
	for part := range s.halves {
		if s.halves[part], err = secret.NewKey(bytes.Clone(body[27+part*scalarSize:][:scalarSize])); err != nil {
			s.Destroy()
			return nil, err
		}
	}
	return s, nil
}

// decodeShare is shareText.DecodeString, which would leave a copy behind.
func decodeShare(text []byte) ([]byte, error) {
	out := make([]byte, 0, shareSize)
	var bits uint32
	n := 0
	for _, c := range text {
		v := strings.IndexByte(shareAlphabet, c)
		if v < 0 || len(out) == shareSize {
			return out, efs.ErrBadInput
		}
		if bits, n = bits<<5|uint32(v), n+5; n >= 8 {
			n -= 8
			out = append(out, byte(bits>>n))
			bits &= 1<<n - 1
		}
	}
	if n >= 5 || bits != 0 { // what the last letter has beyond the last byte
		return out, efs.ErrBadInput
	}
	return out, nil
}

// Destroy wipes the share.
func (s *Share) Destroy() {
	for _, k := range s.halves {
		if k != nil {
			k.Destroy()
		}
	}
}

// Combine puts the key together that shares are of. There must be as many as
// they need, of one set, each once. Whether the key is the right one, only
// opening the root tells. efs.ErrWrongKey: they are of no key.
func Combine(shares []*Share) (*secret.Key, error) {
	key := make([]byte, secret.Size)
	defer secret.Wipe(key)
	for part := range 2 {
		if err := combineHalf(key[part*half:][:half], shares, part); err != nil {
			return nil, err
		}
	}
	return secret.NewKey(bytes.Clone(key))
}

func combineHalf(out []byte, shares []*Share, part int) error {
	points := make([]secretsharing.Share, len(shares))
	defer func() {
		for _, p := range points {
			if p.Value != nil {
				p.Value.SetUint64(0)
			}
		}
	}()
	for i, s := range shares {
		points[i] = secretsharing.Share{ID: group.Ristretto255.NewScalar().SetUint64(uint64(s.Number)), Value: group.Ristretto255.NewScalar()}
		var err error
		if werr := s.halves[part].With(func(b []byte) { err = points[i].Value.UnmarshalBinary(b) }); werr != nil {
			return werr
		}
		if err != nil {
			return noKey()
		}
	}
	s, err := secretsharing.Recover(uint(shares[0].Threshold-1), points)
	if err != nil {
		return err
	}
	defer s.SetUint64(0)
	le, err := s.MarshalBinary()
	if err != nil {
		return err
	}
	defer secret.Wipe(le)
	if !bytes.Equal(le[half:], make([]byte, scalarSize-half)) {
		return noKey()
	}
	copy(out, le[:half])
	slices.Reverse(out)
	return nil
}

func noKey() error {
	return fmt.Errorf("%w: these shares together are of no starter key: one of them is forged or damaged", efs.ErrWrongKey)
}
