//go:build !linux

package directio

import (
	"errors"
	"os"
)

// Set fails: there is no such flag here.
func Set(*os.File, bool) error { return errors.ErrUnsupported }
