package starter

import (
	"errors"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
	"golang.org/x/sys/unix"
)

// readKeyring looks for a key of type "user" in the session keyring, then the
// user's, then the process's (keyrings(7)). nil if there is none, also where
// the kernel or a container's seccomp profile offers no keyring.
func readKeyring(description string) (*secret.Key, error) {
	for _, ring := range []int{unix.KEY_SPEC_SESSION_KEYRING, unix.KEY_SPEC_USER_KEYRING, unix.KEY_SPEC_PROCESS_KEYRING} {
		id, err := unix.KeyctlSearch(ring, "user", description, 0)
		switch {
		case err == nil:
			return readKey(id)
		case errors.Is(err, unix.EKEYEXPIRED), errors.Is(err, unix.EKEYREVOKED):
			return nil, fmt.Errorf("%w: %w: add it anew, or `keyctl unlink` it", efs.ErrRefused, err)
		}
	}
	return nil, nil
}

func readKey(id int) (*secret.Key, error) {
	b := make([]byte, maxKeyText)
	defer secret.Wipe(b)
	n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, b, 0)
	if errors.Is(err, unix.EACCES) {
		return nil, fmt.Errorf("%w: the key may not be read by this process: "+
			"`keyctl link @u @s` before starting the server", efs.ErrRefused)
	}
	if err != nil {
		return nil, err
	}
	return Parse(b[:min(n, len(b))])
}
