package starter

import (
	"fmt"
	"io"
	"os"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

const maxKeyText = 4096 // bytes; a key file is no larger

// readKeyFile reads a key from a file or pipe. What the operator named must
// be private; a credential was made so by systemd.
func readKeyFile(path string, credential bool) (*secret.Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if !credential {
		if err := checkPrivate(f); err != nil {
			return nil, err
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyText+1))
	defer secret.Wipe(b)
	if err != nil {
		return nil, err
	}
	if len(b) > maxKeyText {
		return nil, fmt.Errorf("%w: the file is too large for a starter key", efs.ErrBadInput)
	}
	return Parse(b)
}
