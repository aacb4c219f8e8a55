// Package masterkey is how keys are wrapped under a master key whose material
// EFS itself holds, wherever it is kept: bound to the master key's id and
// version and to what the wrapped key is for.
package masterkey

import (
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/secret"
)

// The wrapped form: format (1 byte), version of the master key (uint32, big
// endian), then what secret.Key.Seal gives.
const (
	format = 1
	header = 1 + 4
	length = header + secret.Size + secret.Overhead
)

var keyID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// Label tells the wraps of one kind of provider from those of another. It
// begins what a wrap is bound to, ends in 0x00 and never changes.
type Label string

// CheckID returns efs.ErrBadInput for what cannot be the id of a master key:
// ids match [A-Za-z0-9][A-Za-z0-9._-]{0,127}.
func CheckID(id string) error {
	if keyID.MatchString(id) {
		return nil
	}
	return fmt.Errorf("%w: %q cannot be the id of a master key: letters, digits, dots, dashes and underscores, at most 128", efs.ErrBadInput, id)
}

// CheckKey returns efs.ErrBadInput for a key to wrap that has not 32 bytes.
func CheckKey(key []byte) error {
	if len(key) == secret.Size {
		return nil
	}
	return fmt.Errorf("%w: a key to wrap has %d bytes, not %d", efs.ErrBadInput, len(key), secret.Size)
}

// Wrap seals key under version number of master key id, whose material is m.
func (l Label) Wrap(m *secret.Key, id string, number int, key []byte, b efs.Binding) ([]byte, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	info, err := l.info(id, number, b)
	if err != nil {
		return nil, err
	}
	sealed, err := m.Seal(key, info)
	if err != nil {
		return nil, err
	}
	out := binary.BigEndian.AppendUint32(append(make([]byte, 0, length), format), uint32(number))
	return append(out, sealed...), nil
}

// Version returns the version of the master key that wrapped something, from
// 1; 0 if it was not made by Wrap.
func Version(wrapped []byte) int {
	if len(wrapped) != length || wrapped[0] != format {
		return 0
	}
	return int(binary.BigEndian.Uint32(wrapped[1:header]))
}

// Unwrap opens what Wrap made with the same label, id, version and binding.
// The caller wipes the result. efs.ErrWrongKey.
func (l Label) Unwrap(m *secret.Key, id string, wrapped []byte, b efs.Binding) ([]byte, error) {
	number := Version(wrapped)
	if number == 0 {
		return nil, NotOf(id)
	}
	info, err := l.info(id, number, b)
	if err != nil {
		return nil, err
	}
	key, err := m.Open(wrapped[header:], info)
	if errors.Is(err, secret.ErrOpen) {
		return nil, NotOf(id)
	}
	return key, err
}

// NotOf says that something was not wrapped by a master key. efs.ErrWrongKey.
func NotOf(id string) error {
	return fmt.Errorf("%w: not wrapped by master key %s for this purpose", efs.ErrWrongKey, id)
}

func (l Label) info(id string, number int, b efs.Binding) ([]byte, error) {
	body, err := detcbor.Marshal([]any{id, number, b})
	return append([]byte(l), body...), err
}
