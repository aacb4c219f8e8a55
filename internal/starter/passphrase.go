package starter

import "github.com/efs-project/efs/internal/secret"

// KDF says how a starter key is made from a passphrase (Argon2id, RFC 9106).
// It is kept in root.json.
type KDF struct {
	Algorithm string `json:"algorithm"` // "argon2id"
	Salt      []byte `json:"salt"`      // 16 bytes
	Time      uint32 `json:"time"`      // passes
	Memory    uint32 `json:"memory"`    // KiB
	Threads   uint8  `json:"threads"`
}

// FromPassphrase makes the starter key of the root in dir from its
// passphrase, which is wiped. efs.ErrNotFound if the root was never
// initialised, efs.ErrBadInput if it was initialised with a key.
func FromPassphrase(dir string, pass []byte) (*secret.Key, error) { return nil, nil }

func askPassphrase(dir string, prompt func(string) ([]byte, error)) (*Found, error) { return nil, nil }

// TerminalPrompt asks on the controlling terminal, without echo.
func TerminalPrompt(text string) ([]byte, error) { return nil, nil }
