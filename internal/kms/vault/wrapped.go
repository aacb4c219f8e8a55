package vault

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

// The wrapped form: format (1 byte), version of the master key (uint32, big
// endian), then Transit's bytes: nonce (12), ciphertext, tag (16). Transit's
// own text, vault:vN:BASE64, has several spellings of the same bytes.
const (
	wrapFormat = 1
	wrapHeader = 1 + 4
	plainSize  = secret.Size + sha256.Size
	wrapLength = wrapHeader + 12 + plainSize + 16
	textPrefix = "vault:v"
)

// pack turns Transit's text into the wrapped form. efs.ErrUnavailable if it is
// not what a key of type aes256-gcm96 gives.
func pack(text string) ([]byte, error) {
	number, body, ok := strings.Cut(strings.TrimPrefix(text, textPrefix), ":")
	version, err := strconv.ParseUint(number, 10, 32)
	raw, err2 := base64.StdEncoding.Strict().DecodeString(body)
	if !ok || !strings.HasPrefix(text, textPrefix) || err != nil || version == 0 || err2 != nil || len(raw) != wrapLength-wrapHeader {
		return nil, fmt.Errorf("%w: Vault's answer is not in the form of an aes256-gcm96 key", efs.ErrUnavailable)
	}
	return append(binary.BigEndian.AppendUint32([]byte{wrapFormat}, uint32(version)), raw...), nil
}

// unpack turns the wrapped form into Transit's text.
func unpack(wrapped []byte) (text string, ok bool) {
	if len(wrapped) != wrapLength || wrapped[0] != wrapFormat {
		return "", false
	}
	version := binary.BigEndian.Uint32(wrapped[1:wrapHeader])
	if version == 0 { // which Transit takes for 1
		return "", false
	}
	return fmt.Sprintf("%s%d:%s", textPrefix, version, base64.StdEncoding.EncodeToString(wrapped[wrapHeader:])), true
}
