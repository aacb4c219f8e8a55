package starter

import (
	"sync"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

// Box keeps the server's own secrets, each in a small file sealed under the
// starter key and bound to its name and to the root. Its methods are safe for
// concurrent use by one process; the caller makes sure that no other has the
// same Box open.
type Box struct {
	dir  string
	root efs.ID
	key  *secret.Key
	mu   sync.Mutex // one writer at a time
}

// CreateBox initialises the Box in dir (ROOT/.server) and returns it open; it
// owns k from then on. kdf is nil, or what Find returned with a new
// passphrase. efs.ErrExists if dir, or a file system beside it, already holds
// anything sealed: a second set of keys is never made beside it.
func CreateBox(dir string, k *secret.Key, kdf *KDF) (*Box, error) { return nil, efs.ErrExists }

// OpenBox opens the Box in dir, and owns k if it fits. efs.ErrNotFound when
// the root was never initialised, efs.ErrWrongKey when k is not its key.
func OpenBox(dir string, k *secret.Key) (*Box, error) { return nil, efs.ErrNotFound }

// BoxState reports whether dir holds an initialised Box. efs.ErrDamaged if
// something sealed is there without what belongs to it.
func BoxState(dir string) (initialised bool, err error) { return false, nil }

// RootID is the random id of the root, made with the Box.
func (b *Box) RootID() efs.ID { return b.root }

// Get returns the secret called name, on the ordinary heap; the caller wipes
// it. efs.ErrNotFound, efs.ErrDamaged.
func (b *Box) Get(name string) ([]byte, error) { return nil, efs.ErrNotFound }

// Put seals a secret and replaces what was called name; durable on return.
func (b *Box) Put(name string, secret []byte) error { return efs.ErrNotFound }

// Delete removes a secret durably. Removing what is not there is no error.
func (b *Box) Delete(name string) error { return efs.ErrNotFound }

// Names returns the names of all secrets, sorted.
func (b *Box) Names() ([]string, error) { return nil, nil }

// Close wipes the starter key. The Box must not be used after.
func (b *Box) Close() { b.key.Destroy() }
