package keyring

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

// The server part of a backup stands before its sealed file:
//
//	EFSKEYS1 (8) ‖ length (4, big-endian) ‖ what the server's directory holds
//
// What that is, package starter knows: secrets sealed by the starter key. The
// sealed file names its SHA-256, so that neither can be exchanged. Backups of
// before have none.
const (
	serverMagic = "EFSKEYS1"
	serverKey   = "server" // in the recovery record: SHA-256 in hex
	maxServer   = 256 << 20
)

func writeServerPart(w io.Writer, part []byte) error {
	head := binary.BigEndian.AppendUint32([]byte(serverMagic), uint32(len(part)))
	_, err := w.Write(append(head, part...))
	return err
}

// ServerPart reads the server part that a backup of keys begins with; what
// follows in the returned reader is the sealed file. Nil if there is none.
// efs.ErrDamaged if it is cut off.
func ServerPart(src io.Reader) (part []byte, rest *bufio.Reader, err error) {
	in := bufio.NewReaderSize(src, 1<<16)
	head, err := in.Peek(len(serverMagic) + 4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	if !bytes.HasPrefix(head, []byte(serverMagic)) || len(head) < len(serverMagic)+4 {
		return nil, in, nil // of before, or no backup at all
	}
	n := binary.BigEndian.Uint32(head[len(serverMagic):])
	if n > maxServer {
		return nil, nil, fmt.Errorf("%w: a server part of %d bytes", efs.ErrDamaged, n)
	}
	if _, err := in.Discard(len(head)); err != nil {
		return nil, nil, err
	}
	part, err = io.ReadAll(io.LimitReader(in, int64(n)))
	if err == nil && len(part) != int(n) {
		err = fmt.Errorf("%w: the backup of keys is cut off", efs.ErrDamaged)
	}
	return part, in, err
}

func serverSum(part []byte) string {
	sum := sha256.Sum256(part)
	return hex.EncodeToString(sum[:])
}

// checkServerPart compares the server part with what the sealed file says of it.
func checkServerPart(part []byte, named string) error {
	if part == nil && named == "" || part != nil && named == serverSum(part) {
		return nil
	}
	return fmt.Errorf("%w: the secrets of the server in it are not those that it was made with", efs.ErrDamaged)
}

// Unpack writes the key store that a backup holds to a new file at path, as
// Backup found it. It is for a root that begins with it. Errors as of Restore.
func Unpack(path string, src io.Reader, root efs.ID, kek seal.KEK, now func() int64) (Copy, error) {
	c, err := openBackup(path, src, root, kek)
	if err != nil {
		return c, fmt.Errorf("taking the key store from a backup: %w", backupError(err))
	}
	if now() >= c.Expires.UnixMicro() {
		return c, expired(c)
	}
	return c, nil
}
