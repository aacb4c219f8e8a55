//go:build pkcs11

package pkcs11

import (
	"fmt"
	"sync"

	"github.com/efs-project/efs"
	"github.com/miekg/pkcs11"
)

// module is a loaded library. A process initialises each once, however many
// tokens it uses through it.
type module struct {
	path  string
	ctx   *pkcs11.Ctx
	users int
}

var (
	modulesMu sync.Mutex
	modules   = map[string]*module{}
)

// openModule loads and initialises the library at path, or returns the one
// that is in use.
func openModule(path string) (*module, error) {
	modulesMu.Lock()
	defer modulesMu.Unlock()
	if m := modules[path]; m != nil {
		m.users++
		return m, nil
	}
	ctx := pkcs11.New(path)
	if ctx == nil {
		return nil, fmt.Errorf("%w: %s is no PKCS #11 library that can be loaded", efs.ErrUnavailable, path)
	}
	if err := ctx.Initialize(); err != nil && !is(err, pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED) {
		ctx.Destroy()
		return nil, fmt.Errorf("initialising %s: %w", path, err)
	}
	m := &module{path: path, ctx: ctx, users: 1}
	modules[path] = m
	return m, nil
}

// close lets go of the library, and ends it with its last user.
func (m *module) close() {
	modulesMu.Lock()
	defer modulesMu.Unlock()
	if m.users--; m.users > 0 {
		return
	}
	delete(modules, m.path)
	_ = m.ctx.Finalize() // what it holds goes with the process at the latest
	m.ctx.Destroy()
}
