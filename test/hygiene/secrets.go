package hygiene

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/kdf"
	"github.com/efs-project/efs/internal/kms/local"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
	"github.com/efs-project/efs/seal"
)

// keys are the keys of a root, from the starter key down, in the clear.
type keys struct {
	starter []byte
	masters [][]byte
	roots   [][]byte
	epochs  map[efs.ID][]byte
	files   [][]byte // file keys, one per blob
	payload [][]byte // payload keys, one per blob
}

// openRoot unwraps every key of a copy of a server's root, as an operator with
// the starter key can.
func openRoot(root, name string, starterKey []byte) (*keys, error) {
	k := &keys{starter: starterKey, epochs: map[efs.ID][]byte{}}
	key, err := starter.Parse([]byte(base64.StdEncoding.EncodeToString(starterKey)))
	if err != nil {
		return nil, err
	}
	box, err := starter.OpenBox(filepath.Join(root, ".server"), key)
	if err != nil {
		return nil, err
	}
	defer box.Close()
	if err := k.readMasters(box); err != nil {
		return nil, err
	}
	kms, err := local.Open(box)
	if err != nil {
		return nil, err
	}
	defer kms.Close()
	for _, file := range []string{"aes.key", "filename-salt"} {
		if err := k.readExport(filepath.Join(root, name, "system", file), kms); err != nil {
			return nil, err
		}
	}
	return k, k.readBlobs(filepath.Join(root, name, "files"))
}

// readMasters takes the master keys out of the local KMS's stored form.
func (k *keys) readMasters(box *starter.Box) error {
	stored, err := box.Get("kms-local")
	if err != nil {
		return err
	}
	var doc any
	if err := detcbor.UnmarshalKnown(stored, &doc); err != nil {
		return err
	}
	collect(doc, func(b []byte) { k.masters = append(k.masters, b) })
	if len(k.masters) == 0 {
		return errors.New("no master key found")
	}
	return nil
}

// collect calls fn with every byte string of a key's length.
func collect(v any, fn func([]byte)) {
	switch v := v.(type) {
	case []byte:
		if len(v) == secret.Size {
			fn(v)
		}
	case []any:
		for _, e := range v {
			collect(e, fn)
		}
	case map[any]any:
		for _, e := range v {
			collect(e, fn)
		}
	}
}

func (k *keys) readExport(path string, kms *local.KMS) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var doc struct {
		FS   efs.ID `json:"fs"`
		Keys []struct {
			ID      efs.ID `json:"id"`
			Master  string `json:"master"`
			Purpose string `json:"purpose"`
			Stage   int    `json:"stage"`
			Epoch   int    `json:"epoch"`
			Wrapped []byte `json:"wrapped"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return err
	}
	for _, e := range doc.Keys {
		key, err := kms.Unwrap(context.Background(), e.Master, e.Wrapped,
			efs.Binding{Purpose: e.Purpose, FS: doc.FS, Stage: e.Stage, Epoch: e.Epoch, Key: e.ID})
		if err != nil {
			return fmt.Errorf("%s: key %s: %w", path, e.ID, err)
		}
		if e.Purpose == "epoch" {
			k.epochs[e.ID] = key
		} else {
			k.roots = append(k.roots, key)
		}
	}
	return nil
}

// readBlobs unwraps the file key of every blob and derives its payload key
// (docs/sealed-file.md).
func (k *keys) readBlobs(dir string) error {
	id := seal.KeyIdentity(func(id [16]byte) (seal.KEK, error) {
		if key, ok := k.epochs[id]; ok {
			return kek{id, key}, nil
		}
		return nil, seal.ErrNoKey
	})
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.Contains(path, "journal") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		h, err := seal.ReadHeader(bytes.NewReader(b))
		if err != nil {
			return nil // no sealed file
		}
		st := h.Stages[0]
		key, err := id.Unwrap(st.Slots[0], seal.Context{FS: h.FS, Content: h.Content, Suite: st.Suite})
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		salt := sha256.Sum256(b[:h.Size()-sha256.Size])
		payload := kdf.HKDF(key, salt[:], append([]byte("efs/seal/1/payload"), 0, byte(st.Suite)))
		k.files, k.payload = append(k.files, key), append(k.payload, payload[:])
		return nil
	})
}

type kek struct {
	id  [16]byte
	key []byte
}

func (k kek) ID() [16]byte { return k.id }

func (k kek) Derive(salt, info []byte) ([]byte, error) {
	out := kdf.HKDF(k.key, salt, info)
	return out[:], nil
}
