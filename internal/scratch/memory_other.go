//go:build !linux

package scratch

import (
	"errors"
	"os"
)

func memory() (*os.File, error) { return nil, errors.ErrUnsupported }
