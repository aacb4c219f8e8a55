package keyring

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kms/local"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/internal/starter"
	"github.com/efs-project/efs/seal"
)

// example is what a stored key store of some format must give: a file system
// of two stages, its root keys, and a file key wrapped for each stage.
type example struct {
	FS           efs.ID
	Index, Names []byte
	Context      seal.Context
	FileKey      []byte
	Slots        []seal.Slot
	Unit         efs.ID   // since format 2
	UnitNames    []byte   // its root key of that purpose
	UnitTag      [16]byte // one of its tags
	Heir         string   `json:",omitempty"` // private half of the recovery recipient; since format 3
}

// copyExample copies the example of a format, which opening changes.
func copyExample(t *testing.T, format string) (want example, dir string) {
	t.Helper()
	dir = t.TempDir()
	from := filepath.Join("testdata", format)
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(from, "expected.json"))
	if err == nil {
		err = json.Unmarshal(b, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	return want, dir
}

// exampleKMS opens the two local KMSs of an example; their starter key is 32
// bytes of 7.
func exampleKMS(t *testing.T, dir string, create bool) map[string]efs.KMS {
	t.Helper()
	all := map[string]efs.KMS{}
	for _, name := range []string{"one", "two"} {
		key, err := secret.NewKey(bytes.Repeat([]byte{7}, secret.Size))
		if err != nil {
			t.Fatal(err)
		}
		open := starter.OpenBox
		if create {
			open = func(dir string, k *secret.Key) (*starter.Box, error) { return starter.CreateBox(dir, k, nil) }
		}
		box, err := open(filepath.Join(dir, name, "server"), key)
		if err != nil {
			t.Fatal(err)
		}
		k, err := local.Open(box)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(k.Close)
		if create {
			if _, err := k.CreateKey(t.Context(), "default", efs.KeyOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		all[name] = k
	}
	return all
}

// writeExample stores an example of the present format; run with
// EFS_WRITE_EXAMPLE=DIR when the format changes.
func TestWriteExample(t *testing.T) {
	dir := os.Getenv("EFS_WRITE_EXAMPLE")
	if dir == "" {
		t.Skip("EFS_WRITE_EXAMPLE is not set")
	}
	r, err := Open(filepath.Join(dir, "keys.db"), exampleKMS(t, dir, true), Options{})
	if err != nil {
		t.Fatal(err)
	}
	k, err := r.Create(t.Context(), efs.NewID(), "user-data", twoStages)
	if err != nil {
		t.Fatal(err)
	}
	h := newHeir(t)
	setRecovery(t, k, h.public)
	text, err := h.Text()
	if err != nil {
		t.Fatal(err)
	}
	s := wrapAll(t, k)
	u := newUnit(t, k)
	tag, err := u.Tag()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(example{k.FS(), root(t, k, "index"), root(t, k, "names"), s.ctx, s.key, s.slots, u.ID(), unitRoot(t, u), tag, text}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "expected.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}
