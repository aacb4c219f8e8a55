package starter

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

// Generate makes a starter key and returns it twice: as base64, to be shown
// to the operator once and then wiped, and in locked memory.
func Generate() (text []byte, key *secret.Key, err error) {
	b := make([]byte, secret.Size)
	_, _ = rand.Read(b)
	text = base64.StdEncoding.AppendEncode(make([]byte, 0, base64.StdEncoding.EncodedLen(len(b))), b)
	key, err = secret.NewKey(b)
	return text, key, err
}

// Parse reads a starter key: base64 (RFC 4648, standard or URL alphabet, with
// or without padding) of 32 bytes; white space around it is ignored. The
// caller wipes it. efs.ErrBadInput.
func Parse(text []byte) (*secret.Key, error) {
	text = bytes.TrimRight(bytes.TrimSpace(text), "=")
	if len(text) == 0 {
		return nil, fmt.Errorf("%w: the starter key is empty; `efs-server keygen` makes one", efs.ErrBadInput)
	}
	enc := base64.RawStdEncoding
	if bytes.ContainsAny(text, "-_") {
		enc = base64.RawURLEncoding
	}
	b := make([]byte, enc.DecodedLen(len(text)))
	defer secret.Wipe(b)
	// Its error tells at which byte, and nothing of the key; the length says more to a person.
	n, err := enc.Decode(b, text)
	if err != nil || n != secret.Size {
		return nil, fmt.Errorf("%w: a starter key is base64 of %d bytes (44 characters); `efs-server keygen` makes one",
			efs.ErrBadInput, secret.Size)
	}
	return secret.NewKey(b[:n])
}
