package dir

import (
	"os"
	"sync"

	"github.com/efs-project/efs/internal/fsync"
)

// paceBytes is how much all uploads together write past the page cache before
// the device is told to make it durable.
const paceBytes = 4 << 20

// pace keeps what a device holds in its own cache small. A sync, whoever's it
// is, waits until the device has made durable all that it was given before; so
// without this a store of a few bytes waits for what large uploads have sent in
// the last seconds.
type pace struct {
	mu     sync.Mutex // held while the device works, so that nobody sends more
	unsent int64      // bytes since
}

// wrote notes that n bytes were written to f, and waits for the device where it
// is time to.
func (p *pace) wrote(f *os.File, n int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unsent += n; p.unsent < paceBytes {
		return nil
	}
	p.unsent = 0
	return fsync.Data(f)
}
