package keyring

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
)

// The names of the exported copies.
const (
	ExportKeys = "aes.key"       // epoch keys
	ExportSalt = "filename-salt" // root secrets

	ExportRecovery = "recovery.sealed" // both, sealed to the recovery recipient, where there is one
)

const maxExport = 16 << 20 // bytes

// The format of an export; the second one is of root secrets whose sum modulo
// 2 is the root key (Split).
const (
	exportFormat    = 1
	exportFormatXOR = 2
)

// exportDoc is an exported copy: wrapped keys, readable but for the keys.
type exportDoc struct {
	EFS    string      `json:"efs"` // the file's name
	Format int         `json:"format"`
	FS     efs.ID      `json:"fs"`
	Name   string      `json:"name"`
	Split  string      `json:"split,omitempty"` // how root secrets make the root key: "xor", or concatenated
	Keys   []exportKey `json:"keys,omitempty"`

	Recipient string   `json:"recipient,omitempty"` // of recovery.sealed
	Items     [][]byte `json:"items,omitempty"`     // as they stand in the key store
}

type exportKey struct {
	ID       efs.ID `json:"id"`
	Kind     kind   `json:"kind"`
	State    state  `json:"state"`
	Provider string `json:"provider"`
	Master   string `json:"master"`
	Purpose  string `json:"purpose"`
	Stage    int    `json:"stage"`
	Epoch    int    `json:"epoch"`
	Created  int64  `json:"created"` // Unix time, microseconds
	Wrapped  []byte `json:"wrapped"`
}

// Export writes aes.key (the epoch keys) and filename-salt (the root secrets)
// into systemDir: sealed copies, enough to recover a file system with the
// starter key and the server's secrets, or with access to the KMS. A server
// only ever compares them. Durable on return.
func (k *Keys) Export(systemDir string) error {
	k.exporting.Lock() // else one that began before a change could end after it
	defer k.exporting.Unlock()
	for _, name := range []string{ExportKeys, ExportSalt, ExportRecovery} {
		path := filepath.Join(systemDir, name)
		b, err := k.export(name)
		switch {
		case err == nil && b == nil:
			err = removeOverwritten(path)
		case err == nil:
			err = replace(path, b)
		}
		if err != nil {
			return fmt.Errorf("exporting %s: %w", name, err)
		}
	}
	return nil
}

// replace writes a copy in place of an older one, which is overwritten: it may
// hold keys that were destroyed.
func replace(path string, b []byte) error {
	old, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return atomicfile.Write(path, b, 0o600)
	}
	if err != nil {
		return err
	}
	defer func() { _ = old.Close() }()
	have := make([]byte, len(b)+1)
	if n, _ := old.ReadAt(have, 0); bytes.Equal(have[:n], b) {
		return nil
	}
	if err := atomicfile.Write(path, b, 0o600); err != nil {
		return err
	}
	return zero(old)
}

// CheckExport compares the copies in systemDir with the keyring. Its error
// says, a line each, what does not fit (efs.ErrDamaged); Export mends it. The
// copies are never used, whatever they hold.
func (k *Keys) CheckExport(systemDir string) error {
	var problems []error
	for _, name := range []string{ExportKeys, ExportSalt, ExportRecovery} {
		path := filepath.Join(systemDir, name)
		if what := k.misfit(path, name); what != "" {
			problems = append(problems, fmt.Errorf("%w: %s %s; the server does not use it", efs.ErrDamaged, path, what))
		}
	}
	return errors.Join(problems...)
}

// misfit says what is wrong with a copy, "" if nothing is.
func (k *Keys) misfit(path, name string) string {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if want, err := k.export(name); err == nil && want == nil {
			return ""
		}
		return "is missing"
	}
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxExport {
		return "cannot be read"
	}
	have, err := os.ReadFile(path)
	if err != nil {
		return "cannot be read"
	}
	want, err := k.export(name)
	if err != nil {
		return "cannot be compared"
	}
	if bytes.Equal(have, want) {
		return ""
	}
	var doc exportDoc
	if json.Unmarshal(have, &doc) != nil || doc.EFS != name {
		return "is not what EFS wrote there"
	}
	if doc.FS != k.FS() {
		return fmt.Sprintf("belongs to file system %s (%s)", doc.FS, doc.Name)
	}
	return "differs from the key store"
}

// export returns what a copy holds; nil: it is not to be there.
func (k *Keys) export(name string) ([]byte, error) {
	if name == ExportRecovery {
		return k.exportRecovery()
	}
	s := k.set()
	keys := s.roots
	if name == ExportKeys {
		keys = nil
		for _, e := range s.manifest.Epochs {
			keys = append(keys, s.keysOf(e.Number)...)
		}
	}
	doc := exportDoc{EFS: name, Format: exportFormat, FS: k.FS(), Name: k.Name(), Keys: []exportKey{}}
	if name == ExportSalt && s.manifest.Split == splitXOR {
		doc.Format, doc.Split = exportFormatXOR, "xor"
	}
	for _, l := range keys {
		r := l.record()
		doc.Keys = append(doc.Keys, exportKey{r.ID, r.Kind, r.State, r.Provider, r.Master, r.Purpose, r.Stage, r.Epoch, r.Created, r.Wrapped})
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	return append(b, '\n'), err
}

func (k *Keys) exportRecovery() ([]byte, error) {
	recipient := k.Recovery()
	if recipient == "" {
		return nil, nil
	}
	stored, err := k.ring.recoveryItems(k.fs)
	if err != nil {
		return nil, err
	}
	doc := exportDoc{EFS: ExportRecovery, Format: exportFormat, FS: k.FS(), Name: k.Name(), Recipient: recipient}
	for _, item := range stored {
		doc.Items = append(doc.Items, item.value)
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	return append(b, '\n'), err
}
