package starter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/internal/secret"
)

// Box keeps the server's own secrets, each in a small file sealed under the
// starter key and bound to its name and to the root. Its methods are safe for
// concurrent use by one process; the caller makes sure that no other has the
// same Box open.
type Box struct {
	dir       string
	root      efs.ID
	mu        sync.Mutex // one writer at a time
	replacing sync.Mutex // one Replace or Rotate at a time; taken before state and mu

	state      sync.RWMutex // held for writing while the starter key is exchanged
	generation uint32
	key        *secret.Key
	stuck      error // nothing may be written until the root is opened again
	readOnly   bool  // nor ever
}

const (
	boxMagic   = "EFSBOX"
	boxFormat  = 1
	boxHeader  = len(boxMagic) + 1 + 4
	boxLabel   = "efs server secret\x00"
	boxSuffix  = ".sealed"
	maxSecret  = 16 << 20 // bytes
	exportFile = "system/aes.key"
	keysFile   = "keys.db"
)

var secretName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}$`)

// CreateBox initialises the Box in dir (ROOT/.server) and returns it open; it
// owns k from then on. kdf is nil, or what Find returned with a new
// passphrase. efs.ErrExists if dir, or a file system beside it, already holds
// anything sealed: a second set of keys is never made beside it.
func CreateBox(dir string, k *secret.Key, kdf *KDF) (*Box, error) {
	return CreateBoxAs(dir, efs.NewID(), k, kdf)
}

// CreateBoxAs is CreateBox with an id for the root, which shares of its key
// (Split) carry.
func CreateBoxAs(dir string, root efs.ID, k *secret.Key, kdf *KDF) (*Box, error) {
	if _, err := os.Lstat(filepath.Join(dir, rootFile)); err == nil {
		return nil, alreadyInitialised(dir)
	}
	if what := remains(dir); what != "" {
		return nil, fmt.Errorf("%w: %s is sealed by another starter key, and no second set of keys is made beside it: "+
			"put %s back, or use an empty root", efs.ErrExists, what, filepath.Join(dir, rootFile))
	}
	doc, err := newRoot(root, k, kdf)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.MkdirAll(filepath.Join(dir, sealedDir), 0o700); err != nil {
		return nil, fmt.Errorf("initialising %s: %w", dir, err)
	}
	if err := doc.create(dir); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, alreadyInitialised(dir)
		}
		return nil, fmt.Errorf("initialising %s: %w", dir, err)
	}
	return doc.box(dir, k), nil
}

func alreadyInitialised(dir string) error {
	return fmt.Errorf("%w: %s is initialised already: start the server with its starter key, or `efsctl unseal`",
		efs.ErrExists, dir)
}

// OpenBox opens the Box in dir, and owns k if it fits. efs.ErrNotFound when
// the root was never initialised, efs.ErrWrongKey when k is not its key.
func OpenBox(dir string, k *secret.Key) (*Box, error) {
	if initialised, err := BoxState(dir); err != nil {
		return nil, err
	} else if !initialised {
		return nil, fmt.Errorf("%w: %s is not initialised: `efsctl init` does that", efs.ErrNotFound, dir)
	}
	doc, err := readRoot(dir)
	if err != nil {
		return nil, err
	}
	if err := doc.fits(k, dir); err != nil {
		return nil, err
	}
	sealed := filepath.Join(dir, sealedDir)
	err = errors.Join(atomicfile.CleanUp(dir), atomicfile.CleanUp(sealed), discardOld(sealed))
	if err == nil {
		err = settleRotation(dir, doc.starter().Generation)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", dir, err)
	}
	return doc.box(dir, k), nil
}

func (d *rootDoc) box(dir string, k *secret.Key) *Box {
	return &Box{dir: dir, root: d.Root, generation: d.starter().Generation, key: k}
}

// BoxState reports whether dir holds an initialised Box. efs.ErrDamaged if
// something sealed is there without the root.json that it belongs to.
func BoxState(dir string) (initialised bool, err error) {
	path := filepath.Join(dir, rootFile)
	if _, err := os.Lstat(path); err == nil {
		return true, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if what := remains(dir); what != "" {
		return false, fmt.Errorf("%w: %s is there without %s: put the server's directory back from its backup",
			efs.ErrDamaged, what, path)
	}
	return false, nil
}

// remains names something that only a starter key opens, in dir or in the
// file systems beside it; "" if there is nothing.
func remains(dir string) string {
	sealed, _ := filepath.Glob(filepath.Join(escapeGlob(filepath.Join(dir, sealedDir)), "*"+boxSuffix))
	if len(sealed) > 0 {
		return sealed[0]
	}
	if path := filepath.Join(dir, keysFile); exists(path) {
		return path
	}
	beside, _ := os.ReadDir(filepath.Dir(dir))
	for _, e := range beside {
		if path := filepath.Join(filepath.Dir(dir), e.Name(), exportFile); exists(path) {
			return path
		}
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

var globChars = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

func escapeGlob(path string) string { return globChars.Replace(path) }

// RootID is the random id of the root, made with the Box.
func (b *Box) RootID() efs.ID { return b.root }

// Get returns the secret called name, on the ordinary heap; the caller wipes
// it. efs.ErrNotFound, efs.ErrDamaged.
func (b *Box) Get(name string) ([]byte, error) {
	b.state.RLock()
	defer b.state.RUnlock()
	return b.get(name)
}

func (b *Box) get(name string) ([]byte, error) {
	path, info, err := b.place(name)
	if err != nil {
		return nil, err
	}
	file, err := b.readSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: server secret %s", efs.ErrNotFound, name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading server secret %s: %w", name, err)
	}
	if len(file) < boxHeader || !bytes.Equal(file[:boxHeader], b.header()) {
		return nil, fmt.Errorf("%w: %s is no server secret of this root: put it back from a backup", efs.ErrDamaged, path)
	}
	plain, err := b.key.Open(file[boxHeader:], info)
	if errors.Is(err, secret.ErrOpen) {
		return nil, fmt.Errorf("%w: %s was changed, or belongs to another name or root: put it back from a backup",
			efs.ErrDamaged, path)
	}
	return plain, err
}

// Put seals a secret of at most 16 MiB and replaces what was called name;
// durable on return. Names match [a-z0-9][a-z0-9._-]{0,127}.
func (b *Box) Put(name string, value []byte) error {
	b.state.RLock()
	defer b.state.RUnlock()
	path, info, err := b.place(name)
	if err = errors.Join(err, b.stuck); err != nil {
		return err
	}
	if len(value) > maxSecret {
		return fmt.Errorf("%w: server secret %s is too large", efs.ErrBadInput, name)
	}
	sealed, err := b.key.Seal(value, info)
	if err != nil {
		return fmt.Errorf("sealing server secret %s: %w", name, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := atomicfile.Write(path, append(b.header(), sealed...), 0o600); err != nil {
		return fmt.Errorf("storing server secret %s: %w", name, err)
	}
	return nil
}

// Delete removes a secret durably. Removing what is not there is no error.
func (b *Box) Delete(name string) error {
	b.state.RLock()
	defer b.state.RUnlock()
	path, _, err := b.place(name)
	if err = errors.Join(err, b.stuck); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := atomicfile.Remove(path); err != nil {
		return fmt.Errorf("deleting server secret %s: %w", name, err)
	}
	return nil
}

// Names returns the names of all secrets, sorted.
func (b *Box) Names() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(b.dir, sealedDir))
	if err != nil {
		return nil, fmt.Errorf("listing server secrets: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), boxSuffix); ok && secretName.MatchString(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Close wipes the starter key. The Box must not be used after.
func (b *Box) Close() {
	b.state.RLock()
	defer b.state.RUnlock()
	b.key.Destroy()
}

// place returns where a secret lies and what its bytes are bound to. Called
// with state or replacing held.
func (b *Box) place(name string) (path string, info []byte, err error) {
	if !secretName.MatchString(name) {
		return "", nil, fmt.Errorf("%w: %q cannot name a server secret", efs.ErrBadInput, name)
	}
	info, err = boxInfo(b.root, b.generation, name)
	return filepath.Join(b.dir, sealedDir, name+boxSuffix), info, err
}

// boxInfo is what a secret's bytes are bound to.
func boxInfo(root efs.ID, generation uint32, name string) ([]byte, error) {
	return encode(boxLabel, []any{boxFormat, root[:], generation, name})
}

func (b *Box) header() []byte { return boxHead(b.generation) }

func boxHead(generation uint32) []byte {
	h := make([]byte, 0, boxHeader)
	h = append(h, boxMagic...)
	h = append(h, boxFormat)
	return binary.BigEndian.AppendUint32(h, generation)
}
