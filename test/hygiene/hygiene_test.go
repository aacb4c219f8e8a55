package hygiene

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

func TestExperiment(t *testing.T) {
	s := kit.NewDumpable(t)
	c := s.Client()
	ctx := t.Context()
	for i := range 40 {
		data := kit.Pattern(uint64(i), 300<<10)
		if _, err := c.Put(ctx, fmt.Sprintf("/p/%d", i), bytes.NewReader(data), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		r, err := c.Get(ctx, fmt.Sprintf("/p/%d", i))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, r)
		r.Close()
	}
	k := rootKeys(t, s)
	t.Logf("%d masters, %d roots, %d epochs, %d files", len(k.masters), len(k.roots), len(k.epochs), len(k.files))
	hits, n, err := scan(s.PID(), k.needles())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB scanned", n>>20)
	count := map[string]int{}
	for _, h := range hits {
		count[fmt.Sprintf("%s as %s in %s", h.secret, h.form, h.where)]++
	}
	for w, n := range count {
		t.Log(n, w)
	}
}

func (k *keys) needles() (all []needle) {
	all = append(all, newNeedle("starter key", k.starter))
	for _, b := range k.masters {
		all = append(all, newNeedle("master key", b))
	}
	for _, b := range k.roots {
		all = append(all, newNeedle("root secret", b))
	}
	for _, b := range k.epochs {
		all = append(all, newNeedle("epoch key", b))
	}
	for _, b := range k.files {
		all = append(all, newNeedle("file key", b))
	}
	for _, b := range k.payload {
		all = append(all, newNeedle("payload key", b))
	}
	return all
}

// rootKeys opens a copy of the server's root beside the running server.
func rootKeys(t *testing.T, s *kit.Server) *keys {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("sh", "-c", `mkdir -p "$2" && cd "$1" && tar --exclude=admin.sock --exclude='index.db*' -cf - . | tar -xf - -C "$2"`, "sh", s.Root, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(s.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		t.Fatal(err)
	}
	k, err := openRoot(dir, kit.FS, raw)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
