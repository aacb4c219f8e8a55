//go:build pkcs11

package pkcs11

import (
	"fmt"
	"os"
	"strings"

	"github.com/efs-project/efs"
)

// Config are the options of a provider of the type "pkcs11".
type Config struct {
	Module  string `koanf:"module"`   // path of the token's PKCS #11 library
	Token   string `koanf:"token"`    // label of the token
	Serial  string `koanf:"serial"`   // its serial number, where labels repeat
	PINFile string `koanf:"pin_file"` // file with the user's PIN, read at each login
	PINEnv  string `koanf:"pin_env"`  // environment variable with the PIN, where there is no file
	State   string `koanf:"state"`    // "token" (default): states and tags in data objects on the token; "none": unsupported
	TokenIV bool   `koanf:"token_iv"` // the token chooses initialisation vectors and refuses others
}

// Validate returns efs.ErrBadInput for options that cannot hold.
func (c Config) Validate() error {
	switch {
	case c.Module == "":
		return fmt.Errorf("%w: module is missing: the path of the token's PKCS #11 library", efs.ErrBadInput)
	case c.Token == "" && c.Serial == "":
		return fmt.Errorf("%w: token is missing: the label of the token, or serial, its serial number", efs.ErrBadInput)
	case (c.PINFile == "") == (c.PINEnv == ""):
		return fmt.Errorf("%w: the PIN comes from pin_file or from pin_env: give one of them", efs.ErrBadInput)
	case c.State != "" && c.State != "token" && c.State != "none":
		return fmt.Errorf("%w: state is %q, and can be \"token\" or \"none\"", efs.ErrBadInput, c.State)
	}
	return nil
}

// pin returns the user's PIN.
func (c Config) pin() (string, error) {
	pin := os.Getenv(c.PINEnv)
	if c.PINFile != "" {
		b, err := os.ReadFile(c.PINFile)
		if err != nil {
			return "", fmt.Errorf("%w: reading the PIN: %w", efs.ErrRefused, err)
		}
		defer clear(b)
		pin = strings.TrimRight(string(b), "\r\n")
	}
	if pin == "" {
		return "", fmt.Errorf("%w: the PIN (%s%s) is empty", efs.ErrRefused, c.PINFile, c.PINEnv)
	}
	return pin, nil
}
