package starter

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/secret"
)

const (
	rootFile   = "root.json"
	sealedDir  = "sealed"
	rootFormat = 1
	checkLabel = "efs starter check\x00"
	maxRoot    = 64 << 10 // bytes
)

// rootDoc is root.json: what is needed to tell whether a starter key fits. It
// is readable and can be written by others; check covers all of it.
type rootDoc struct {
	Format   int          `json:"format"`
	Root     efs.ID       `json:"root"`
	Created  time.Time    `json:"created"`
	Starters []starterDoc `json:"starters"` // one
}

type starterDoc struct {
	Generation uint32 `json:"generation"`
	KDF        *KDF   `json:"kdf,omitempty"`
	Salt       []byte `json:"salt"`
	Check      []byte `json:"check"`
}

func newRoot(root efs.ID, k *secret.Key, kdf *KDF) (*rootDoc, error) {
	d := &rootDoc{Format: rootFormat, Root: root, Created: time.Now().UTC().Truncate(time.Second)}
	return d, d.setStarter(1, k, kdf)
}

// setStarter makes k the key of the root.
func (d *rootDoc) setStarter(generation uint32, k *secret.Key, kdf *KDF) error {
	salt := make([]byte, secret.Size)
	_, _ = rand.Read(salt)
	d.Starters = []starterDoc{{Generation: generation, KDF: kdf, Salt: salt}}
	check, err := d.check(k)
	d.starter().Check = check
	return err
}

func (d *rootDoc) starter() *starterDoc { return &d.Starters[0] }

// check is a value that only the right key gives, for this document only. It
// helps nobody to guess a key that a sealed file would not help to guess.
func (d *rootDoc) check(k *secret.Key) ([]byte, error) {
	s := d.starter()
	info, err := encode(checkLabel, []any{d.Format, d.Root[:], d.Created.Unix(), s.Generation, s.KDF})
	if err != nil {
		return nil, err
	}
	return k.Derive(s.Salt, info)
}

// fits is nil if k is the key of this root.
func (d *rootDoc) fits(k *secret.Key, dir string) error {
	check, err := d.check(k)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(check, d.starter().Check) == 1 {
		return nil
	}
	which := "the one it was initialised with"
	if g := d.starter().Generation; g > 1 {
		which = fmt.Sprintf("the newest one, which `efsctl rotate-starter-key` printed (it is number %d)", g)
	}
	if d.starter().KDF != nil {
		return fmt.Errorf("%w: the passphrase does not fit this root (%s): give %s", efs.ErrWrongKey, dir, which)
	}
	return fmt.Errorf("%w: the starter key does not fit this root (%s): "+
		"give %s, or mount the volume it belongs to", efs.ErrWrongKey, dir, which)
}

// readRoot reads root.json of the Box in dir. efs.ErrNotFound, efs.ErrDamaged.
func readRoot(dir string) (*rootDoc, error) {
	path := filepath.Join(dir, rootFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is not initialised: `efsctl init` does that", efs.ErrNotFound, dir)
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxRoot {
		return nil, damagedRoot(path, errors.New("too large"))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseRoot(path, b)
}

func parseRoot(path string, b []byte) (*rootDoc, error) {
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return nil, damagedRoot(path, err)
	}
	if version.Format > rootFormat {
		return nil, fmt.Errorf("%s has format %d, this program knows %d: it was written by a newer EFS, start that one",
			path, version.Format, rootFormat)
	}
	d := new(rootDoc)
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(d); err != nil {
		return nil, damagedRoot(path, err)
	}
	if d.Format != rootFormat || d.Root.IsZero() || len(d.Starters) != 1 {
		return nil, damagedRoot(path, errors.New("incomplete"))
	}
	if kdf := d.starter().KDF; kdf != nil {
		return d, kdf.check()
	}
	return d, nil
}

func damagedRoot(path string, err error) error {
	return fmt.Errorf("%w: %s (%w): put it back from a backup of the server's directory", efs.ErrDamaged, path, err)
}

// create writes root.json where there is none, replace where there is one.
func (d *rootDoc) create(dir string) error  { return d.write(dir, atomicfile.WriteNew) }
func (d *rootDoc) replace(dir string) error { return d.write(dir, atomicfile.Write) }

func (d *rootDoc) write(dir string, write func(string, []byte, fs.FileMode) error) error {
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	return write(filepath.Join(dir, rootFile), append(b, '\n'), 0o600)
}

// encode is a label and the deterministic CBOR of v.
func encode(label string, v any) ([]byte, error) {
	b, err := detcbor.Marshal(v)
	return append([]byte(label), b...), err
}
