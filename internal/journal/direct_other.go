//go:build !linux

package journal

import (
	"errors"
	"os"
)

func setDirect(*os.File, bool) error { return errors.ErrUnsupported }

func isInvalid(error) bool { return false }
