package starter

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"os"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
	"golang.org/x/term"
)

// FromPassphrase makes the starter key of the root in dir from its
// passphrase, which is wiped. efs.ErrNotFound if the root was never
// initialised, efs.ErrBadInput if it was initialised with a key.
func FromPassphrase(dir string, pass []byte) (*secret.Key, error) {
	defer secret.Wipe(pass)
	doc, err := readRoot(dir)
	if err != nil {
		return nil, err
	}
	kdf := doc.starter().KDF
	if kdf == nil {
		return nil, fmt.Errorf("%w: this root was initialised with a key, not with a passphrase: give the key", efs.ErrBadInput)
	}
	return kdf.key(pass)
}

// askPassphrase asks for the passphrase of the root in dir, or twice for a new
// one when there is no root yet.
func askPassphrase(dir string, prompt func(string) ([]byte, error)) (*Found, error) {
	initialised, err := BoxState(dir)
	if err != nil {
		return nil, err
	}
	if !initialised {
		return askNew(prompt)
	}
	pass, err := prompt("Passphrase of this EFS root: ")
	if err != nil {
		return nil, err
	}
	key, err := FromPassphrase(dir, pass)
	if err != nil {
		return nil, err
	}
	return &Found{Key: key, From: passphraseFrom}, nil
}

func askNew(prompt func(string) ([]byte, error)) (*Found, error) {
	pass, err := prompt("New passphrase for this EFS root (nothing can be read without it): ")
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(pass)
	if len(pass) < minPassphrase {
		return nil, fmt.Errorf("%w: the passphrase has fewer than %d characters: choose a longer one", efs.ErrBadInput, minPassphrase)
	}
	again, err := prompt("The same passphrase again: ")
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(again)
	if subtle.ConstantTimeCompare(pass, again) != 1 {
		return nil, fmt.Errorf("%w: the two passphrases differ: nothing was created, start again", efs.ErrBadInput)
	}
	return NewPassphrase(pass)
}

// NewPassphrase makes a starter key from a new passphrase. The caller wipes
// it. efs.ErrBadInput if it is too short.
func NewPassphrase(pass []byte) (*Found, error) {
	if len(pass) < minPassphrase {
		return nil, fmt.Errorf("%w: the passphrase has fewer than %d characters: choose a longer one", efs.ErrBadInput, minPassphrase)
	}
	kdf := newKDF()
	key, err := kdf.key(pass)
	if err != nil {
		return nil, err
	}
	return &Found{Key: key, From: passphraseFrom, KDF: kdf}, nil
}

// TerminalPrompt asks on the controlling terminal, without echo.
func TerminalPrompt(text string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, errors.New("there is no terminal to ask for the passphrase: " +
			"start the server on a terminal, or start it without a key and use `efsctl unseal`")
	}
	defer func() { _ = tty.Close() }()
	if _, err := tty.WriteString(text); err != nil {
		return nil, err
	}
	pass, err := term.ReadPassword(int(tty.Fd()))
	_, _ = tty.WriteString("\n")
	return pass, err
}
