package starter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

// The names under which a starter key is looked for.
const (
	EnvName        = "EFS_STARTER_KEY" // environment variable
	CredentialName = "efs-starter-key" // in $CREDENTIALS_DIRECTORY (systemd)
	KeyringName    = "efs-starter-key" // description of a key of type "user" (Linux keyring)
	inheritedName  = "EFS_STARTER_FD"  // number of the descriptor that holds the key after a re-execution
	envSource      = "environment " + EnvName
)

// Source says where the starter key may come from. File and Prompt are what
// the operator asked for; of those and the environment, at most one may be
// set. The others are looked at only when none of them is.
type Source struct {
	File       string // --starter-key-file: base64; "" for none
	Credential string // file of a systemd credential; need not exist
	Keyring    string // description of a key in the Linux keyring; need not exist
	// Prompt asks a person for the passphrase, without echo (TerminalPrompt);
	// nil for no passphrase. Find wipes what it returns.
	Prompt func(text string) ([]byte, error)
}

// DefaultSource is the credential of systemd and the Linux keyring.
func DefaultSource() Source {
	s := Source{Keyring: KeyringName}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		s.Credential = filepath.Join(dir, CredentialName)
	}
	return s
}

// Found is a starter key, where it was found, and, for one made from a
// passphrase, the parameters that CreateBox is to keep.
type Found struct {
	Key  *secret.Key
	From string
	KDF  *KDF
	Root efs.ID // that a new root is to have; zero: any
}

// Find returns the starter key for the Box in dir, or nil when there is none
// anywhere. Order: what the environment held (see ReexecWithoutEnv), the key
// file or the passphrase (one of the three), then the credential, then the
// keyring. A source that is there but unusable is an error, never passed over.
func Find(dir string, src Source) (*Found, error) {
	env := takeInherited()
	if err := oneOf(env, src); err != nil {
		if env != nil {
			env.Destroy()
		}
		return nil, err
	}
	switch {
	case env != nil:
		return &Found{Key: env, From: envSource}, nil
	case src.File != "":
		return found("file " + src.File)(readKeyFile(src.File, false))
	case src.Prompt != nil:
		return askPassphrase(dir, src.Prompt)
	}
	if src.Credential != "" {
		key, err := readKeyFile(src.Credential, true)
		if !errors.Is(err, os.ErrNotExist) {
			return found("systemd credential "+CredentialName)(key, err)
		}
	}
	if src.Keyring != "" {
		key, err := readKeyring(src.Keyring)
		if key != nil || err != nil {
			return found("Linux keyring, key "+src.Keyring)(key, err)
		}
	}
	return nil, nil
}

// found makes a Found, or puts the source's name before the error.
func found(from string) func(*secret.Key, error) (*Found, error) {
	return func(key *secret.Key, err error) (*Found, error) {
		if err != nil {
			return nil, fmt.Errorf("starter key from %s: %w", from, err)
		}
		return &Found{Key: key, From: from}, nil
	}
}

// oneOf refuses two sources that were both asked for: which of two keys is
// meant is not for a program to guess.
func oneOf(env *secret.Key, src Source) error {
	var asked []string
	if env != nil {
		asked = append(asked, envSource)
	}
	if src.File != "" {
		asked = append(asked, "key file "+src.File)
	}
	if src.Prompt != nil {
		asked = append(asked, "passphrase")
	}
	if len(asked) > 1 {
		return fmt.Errorf("%w: the starter key is given in more than one way (%s): keep one of them",
			efs.ErrBadInput, strings.Join(asked, ", "))
	}
	return nil
}
