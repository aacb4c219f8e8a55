package keyring

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/efs-project/efs"
)

// OpenExports opens the copies of a file system's keys in systemDir in place
// of a key store that is lost: with Options.Recovery recovery.sealed, else
// aes.key and filename-salt. They hold no keys of erasure units, and nothing
// proves that they are the newest. efs.ErrNotFound, efs.ErrDamaged.
func OpenExports(ctx context.Context, systemDir string, kms map[string]efs.KMS, opts Options) (*Keyring, efs.ID, error) {
	s, err := memoryStore(systemDir, func(*os.File) error { return nil })
	if err != nil {
		return nil, efs.ID{}, err
	}
	r := newKeyring(s, kms, opts)
	id, err := r.openExports(ctx, systemDir)
	if err != nil {
		return nil, id, errors.Join(fmt.Errorf("opening the copies of keys in %s: %w", systemDir, err), r.Close())
	}
	return r, id, nil
}

func (r *Keyring) openExports(ctx context.Context, dir string) (efs.ID, error) {
	m := &manifest{Format: recordFormat}
	records := map[efs.ID]keyRecord{}
	read := r.wrappedExports
	if r.recovery != nil {
		read = r.recoveryExport
	}
	if err := read(dir, m, records); err != nil {
		return m.FS, err
	}
	slices.SortFunc(m.Epochs, func(a, b epoch) int { return cmp.Compare(a.Number, b.Number) })
	if n := len(m.Epochs); n > 0 {
		m.Newest = m.Epochs[n-1].Number
	}
	s, err := r.keysetOf(m, records, nil)
	if err != nil {
		return m.FS, err
	}
	if err := s.live(); err != nil {
		return m.FS, err
	}
	return m.FS, r.keep(r.newKeys(s))
}

// wrappedExports reads aes.key and filename-salt.
func (r *Keyring) wrappedExports(dir string, m *manifest, records map[efs.ID]keyRecord) error {
	for _, name := range []string{ExportSalt, ExportKeys} {
		doc, err := readExport(dir, name)
		if err != nil {
			return err
		}
		if !m.FS.IsZero() && doc.FS != m.FS {
			return fmt.Errorf("%w: %s and %s are of two file systems", efs.ErrDamaged, ExportSalt, ExportKeys)
		}
		m.FS, m.Name = doc.FS, doc.Name
		if doc.Split == "xor" {
			m.Split = splitXOR
		}
		for _, e := range doc.Keys {
			records[e.ID] = keyRecord{Format: recordFormat, ID: e.ID, Kind: e.Kind, State: e.State, Provider: e.Provider, Master: e.Master,
				FS: doc.FS, Purpose: e.Purpose, Stage: e.Stage, Epoch: e.Epoch, Created: e.Created, Wrapped: e.Wrapped}
			m.add(e.Kind, e.Epoch, e.ID)
		}
	}
	return nil
}

// add names a key, the next of its epoch by stage.
func (m *manifest) add(kd kind, number int, id efs.ID) {
	if kd == kindRoot {
		m.Roots = append(m.Roots, id)
		return
	}
	i := m.find(number)
	if i < 0 {
		i, m.Epochs = len(m.Epochs), append(m.Epochs, epoch{Number: number, State: stateLive})
	}
	m.Epochs[i].Keys = append(m.Epochs[i].Keys, id)
}

// recoveryExport reads recovery.sealed, and opens what is in it.
func (r *Keyring) recoveryExport(dir string, m *manifest, records map[efs.ID]keyRecord) error {
	doc, err := readExport(dir, ExportRecovery)
	if err != nil {
		return err
	}
	m.FS, m.Name = doc.FS, doc.Name
	var stored []storedItem
	for _, value := range doc.Items {
		var item recoveryItem
		if n := len(value) - tagSize; n < 0 || decode(value[:n], &item) != nil {
			return fmt.Errorf("%w: %s", efs.ErrDamaged, ExportRecovery)
		}
		stored = append(stored, storedItem{recoveryPlace(doc.FS, item.Epoch), value})
		kd := kindEpoch
		if item.Epoch == 0 {
			kd = kindRoot
			in, err := openItem(doc.FS, item.Sealed, r.recovery)
			if err != nil {
				return err
			}
			m.Split = in.Split
			in.wipe()
		}
		for stage, id := range item.Keys {
			records[id] = keyRecord{Format: recordFormat, ID: id, Kind: kd, State: stateLive, FS: doc.FS, Purpose: string(kd), Stage: stage, Epoch: item.Epoch}
			m.add(kd, item.Epoch, id)
		}
	}
	return r.recoverKeys(doc.FS, stored)
}

func readExport(dir, name string) (*exportDoc, error) {
	path := filepath.Join(dir, name)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", efs.ErrNotFound, path)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxExport {
		return nil, fmt.Errorf("%w: %s is not what EFS wrote there", efs.ErrDamaged, path)
	}
	doc := new(exportDoc)
	if err := json.NewDecoder(f).Decode(doc); err != nil || doc.EFS != name || doc.Format < 1 || doc.FS.IsZero() {
		return nil, fmt.Errorf("%w: %s is not what EFS wrote there", efs.ErrDamaged, path)
	}
	if doc.Format > exportFormatXOR {
		return nil, fmt.Errorf("%s has format %d, this program knows %d: it was written by a newer EFS, use that one", path, doc.Format, exportFormatXOR)
	}
	return doc, nil
}
