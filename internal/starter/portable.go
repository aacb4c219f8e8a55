package starter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
)

// portableFormat is the version of what Export writes.
const portableFormat = 1

// starterDocFile is what a node keeps beside the Box where a KMS keeps the
// starter key; wrapped, as it lies there.
const starterDocFile = "starter.json"

// portable is a Box as it lies on its volume: readable is only what is
// readable there.
type portable struct {
	Format  int               `json:"format"`
	Root    efs.ID            `json:"root"`
	Files   map[string][]byte `json:"files"`   // root.json, starter.json
	Secrets map[string][]byte `json:"secrets"` // sealed under the starter key, by name
}

// Export returns all that the Box consists of, sealed as it lies there, for
// Unpack to make the same Box of elsewhere. The starter key is not in it, and is
// needed to open it.
func (b *Box) Export() ([]byte, error) {
	b.state.RLock()
	defer b.state.RUnlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	p := portable{Format: portableFormat, Root: b.root, Files: map[string][]byte{}, Secrets: map[string][]byte{}}
	for _, name := range []string{rootFile, starterDocFile} {
		data, err := os.ReadFile(filepath.Join(b.dir, name))
		if err == nil {
			p.Files[name] = data
		} else if name == rootFile || !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("exporting the server's secrets: %w", err)
		}
	}
	names, err := b.Names()
	for _, name := range names {
		if err == nil {
			p.Secrets[name], err = os.ReadFile(filepath.Join(b.dir, sealedDir, name+boxSuffix))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("exporting the server's secrets: %w", err)
	}
	return json.Marshal(p)
}

// Unpack makes in dir the Box that Export returned: initialised, and to be
// opened with its starter key. What makes it initialised comes last, so that it
// can be done again after a crash; over a Box that is there it does nothing.
// efs.ErrDamaged, efs.ErrUnsupported (of a later version).
func Unpack(dir string, exported []byte) error {
	if exists(filepath.Join(dir, rootFile)) {
		return nil
	}
	p, err := parsePortable(exported)
	if err != nil {
		return err
	}
	sealed := filepath.Join(dir, sealedDir)
	if err := atomicfile.MkdirAll(sealed, 0o700); err != nil {
		return fmt.Errorf("unpacking the server's secrets: %w", err)
	}
	put := func(path string, data []byte) {
		if err == nil {
			err = atomicfile.Write(path, data, 0o600)
		}
	}
	for name, data := range p.Secrets {
		put(filepath.Join(sealed, name+boxSuffix), data)
	}
	if data, ok := p.Files[starterDocFile]; ok {
		put(filepath.Join(dir, starterDocFile), data)
	}
	put(filepath.Join(dir, rootFile), p.Files[rootFile])
	if err != nil {
		return fmt.Errorf("unpacking the server's secrets: %w", err)
	}
	return nil
}

// CheckExported is nil if Unpack would take what Export returned: efs.ErrDamaged,
// efs.ErrUnsupported.
func CheckExported(exported []byte) error {
	_, err := parsePortable(exported)
	return err
}

func parsePortable(exported []byte) (p portable, err error) {
	bad := fmt.Errorf("%w: these are no secrets of a server", efs.ErrDamaged)
	if err := json.Unmarshal(exported, &p); err != nil {
		return p, bad
	}
	if p.Format > portableFormat {
		return p, fmt.Errorf("%w: secrets of a server in format %d, this program knows %d: use the version that wrote them", efs.ErrUnsupported, p.Format, portableFormat)
	}
	doc, err := parseRoot(rootFile, p.Files[rootFile])
	if err != nil || doc.Root != p.Root || p.Format != portableFormat {
		return p, bad
	}
	for name := range p.Secrets {
		if !secretName.MatchString(name) {
			return p, bad
		}
	}
	return p, nil
}
