package scratch

import (
	"errors"
	"os"
	"runtime"
)

// unlinkOpen tells whether a file can be removed while it is open.
const unlinkOpen = runtime.GOOS != "windows"

// ignoreClosed: whoever used the file may have closed it.
func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
