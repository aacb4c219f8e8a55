package starter

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/internal/secret"
)

// nextDir is where secrets are sealed under a new starter key before it takes
// the place of the old one.
const nextDir = "sealed.next"

// Generation counts the starter keys of the root, from 1.
func (b *Box) Generation() uint32 {
	b.state.RLock()
	defer b.state.RUnlock()
	return b.generation
}

// Passphrase reports whether the root's starter key is made from a passphrase.
func (b *Box) Passphrase() (bool, error) {
	doc, err := readRoot(b.dir)
	return err == nil && doc.starter().KDF != nil, err
}

// Rotate puts the Box under another starter key, which it owns from then on;
// kdf is nil, or what NewPassphrase returned with it. The Box stays in use.
//
// All secrets are sealed under the new key beside those under the old one;
// then root.json is replaced, then they take the others' places, which are
// overwritten. So at every moment exactly one key opens the root: an error that
// is ErrNotErased, or a crash, after root.json was replaced leaves the new one
// in force, every other error and any crash before it the old one.
func (b *Box) Rotate(k *secret.Key, kdf *KDF) error {
	if b.readOnly {
		return errReadOnly
	}
	b.replacing.Lock()
	defer b.replacing.Unlock()
	b.state.Lock()
	defer b.state.Unlock()
	doc, err := readRoot(b.dir)
	if err != nil {
		return err
	}
	if err := doc.fits(b.key, b.dir); err != nil {
		return err
	}
	if err := settleRotation(b.dir, b.generation); err != nil {
		return fmt.Errorf("what an earlier rotation left: %w", err)
	}
	next := &Box{dir: b.dir, root: b.root, generation: b.generation + 1, key: k}
	if err := b.sealNext(next); err != nil {
		return fmt.Errorf("sealing secrets under the new starter key: %w", err)
	}
	if err := doc.setStarter(next.generation, k, kdf); err != nil {
		return err
	}
	if err := doc.replace(b.dir); err != nil && !inForce(b.dir, next.generation) {
		return fmt.Errorf("replacing %s: %w", rootFile, err)
	}
	b.key.Destroy()
	b.key, b.generation = k, next.generation
	if err := settleRotation(b.dir, b.generation); err != nil {
		b.stuck = fmt.Errorf("the new starter key is in force, but not all secrets are in their places; restart the server with the new key: %w: %w", ErrNotErased, err)
		return b.stuck
	}
	return nil
}

// inForce reports whether root.json already knows a generation: a write may
// fail after the new file took its place.
func inForce(dir string, generation uint32) bool {
	doc, err := readRoot(dir)
	return err == nil && doc.starter().Generation == generation
}

// sealNext seals every secret under the key of next, into nextDir.
func (b *Box) sealNext(next *Box) error {
	names, err := b.Names()
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, nextDir)
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, name := range names {
		if err := b.reseal(next, name, filepath.Join(dir, name+boxSuffix)); err != nil {
			return err
		}
	}
	return nil
}

// reseal writes one secret under the key of next to path, and reads it back.
func (b *Box) reseal(next *Box, name, path string) error {
	plain, err := b.get(name)
	if err != nil {
		return err
	}
	defer secret.Wipe(plain)
	info, err := boxInfo(next.root, next.generation, name)
	if err != nil {
		return err
	}
	sealed, err := next.key.Seal(plain, info)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(path, append(next.header(), sealed...), 0o600); err != nil {
		return err
	}
	stored, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	back, err := next.key.Open(stored[min(boxHeader, len(stored)):], info)
	defer secret.Wipe(back)
	if err != nil || !bytes.Equal(back, plain) {
		return fmt.Errorf("%w: %s does not give back what was written", efs.ErrDamaged, path)
	}
	return nil
}

// settleRotation ends a rotation that is past root.json, or that was cut off:
// secrets of the root's generation take their places, those of a generation
// that never came into force are removed.
func settleRotation(dir string, generation uint32) error {
	next := filepath.Join(dir, nextDir)
	if _, err := os.Lstat(next); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := atomicfile.CleanUp(next); err != nil {
		return err
	}
	entries, err := os.ReadDir(next)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := settleSecret(dir, e.Name(), generation); err != nil {
			return err
		}
	}
	// The new names are durable before the directory that held them goes.
	if err := atomicfile.SyncDir(filepath.Join(dir, sealedDir)); err != nil {
		return err
	}
	if err := os.Remove(next); err != nil {
		return err
	}
	return atomicfile.SyncDir(dir)
}

func settleSecret(dir, file string, generation uint32) error {
	from, to := filepath.Join(dir, nextDir, file), filepath.Join(dir, sealedDir, file)
	have, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if !strings.HasSuffix(file, boxSuffix) || len(have) < boxHeader || !bytes.Equal(have[:boxHeader], boxHead(generation)) {
		return os.Remove(from)
	}
	old, err := os.OpenFile(to, os.O_WRONLY, 0)
	if err == nil {
		// Of no use any more: root.json knows its key no longer.
		err = errors.Join(overwrite(old), old.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(from, to)
}
