package hygiene

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// keyTTL is as short as the configuration allows.
const keyTTL = time.Second

// TestKeysLeaveMemory uses every kind of key and then looks for all of them in
// the server's memory, as root and whoever debugs the server can. docs/keys.md
// says which may be there: starter key and master keys, in locked pages, while
// the server runs; root secrets, epoch keys and unit keys, in locked pages too,
// for the time that keys live; those of files while a file is open.
func TestKeysLeaveMemory(t *testing.T) {
	planted := fmt.Sprintf("planted-%x.example", kit.Pattern(uint64(os.Getpid()), 16))
	s := kit.NewDumpable(t, "--hostname", planted, "--config", settings(t))
	work(t, s)
	s.Ctl("kms", "create", "second")
	s.Ctl("kms", "rotate", "second")
	s.Ctl("rotate", kit.FS) // the first epoch's keys are not used for sealing any more
	work(t, s)
	k := rootKeys(t, s)
	if len(k.masters) < 3 || len(k.roots) == 0 || len(k.epochs) < 2 || len(k.files) < largeFiles {
		t.Fatalf("%d versions of master keys, %d root secrets, %d epoch keys, %d file keys: the test is to use more",
			len(k.masters), len(k.roots), len(k.epochs), len(k.files))
	}

	always := append(k.all("starter key"), k.all("master key")...)
	// What is in the configuration is neither secret nor locked: where it is
	// not found, nothing would be.
	always = append(always, textNeedle("planted", []byte(planted)))
	seen := look(t, s, always)
	for _, n := range always {
		if len(seen[n.name]) == 0 {
			t.Errorf("the %s is not found, though it must be there: the search does not work", n.name)
		}
	}
	for name, hits := range seen {
		for _, h := range hits {
			if name != "planted" && (!h.where.locked() || h.form != "raw") {
				t.Errorf("%s as %s in %s", h.secret, h.form, h.where)
			}
		}
	}

	// After their time, and after the collector has run, nothing of these is
	// left, in whatever form.
	gone := append(k.all("root secret"), k.all("epoch key")...)
	gone = append(append(gone, k.all("file key")...), k.all("payload key")...)
	var left map[string][]hit
	for range 20 {
		time.Sleep(keyTTL)
		if left = look(t, s, gone); len(left) == 0 {
			break
		}
	}
	for _, hits := range left {
		for _, h := range hits {
			t.Errorf("%s as %s in %s, though its time is over", h.secret, h.form, h.where)
		}
	}

	// They come back when they are needed, and go when the KMS refuses.
	work(t, s)
	frozen(t, s, func() { // the search takes longer than keys live
		if len(look(t, s, k.all("epoch key"))) == 0 {
			t.Error("no epoch key is found right after files were stored: the search does not work")
		}
	})
	s.Ctl("kms", "disable", "default", "--yes")
	for _, hits := range look(t, s, gone) {
		for _, h := range hits {
			t.Errorf("%s as %s in %s, though the KMS refuses its master key", h.secret, h.form, h.where)
		}
	}
	s.Ctl("kms", "enable", "default")
}

// settings writes a configuration with short lives of keys.
func settings(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "efs.toml")
	if err := os.WriteFile(path, []byte(fmt.Sprintf("[kms]\nkey_ttl = %q\n", keyTTL)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// largeFiles is how many files of work's lie in contents of their own when it is
// done.
const largeFiles = 29

// work stores, reads, changes and removes files, small and large, in a session
// of its own.
func work(t *testing.T, s *kit.Server) {
	t.Helper()
	c, err := s.TryClient()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	for i := range 40 {
		path := fmt.Sprintf("/p/%d", i)
		data := kit.Pattern(uint64(i), (i%4)*100<<10+100)
		if _, err := c.Put(ctx, path, bytes.NewReader(data), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := read(ctx, c, path, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Remove(ctx, "/p/1", client.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
}

func read(ctx context.Context, c *client.Client, path string, want []byte) error {
	r, err := c.Get(ctx, path)
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(got, want) {
		err = errors.New("read something else than was stored")
	}
	return err
}

// look searches the server's memory and returns what was found, by secret.
func look(t *testing.T, s *kit.Server, needles []needle) map[string][]hit {
	t.Helper()
	hits, scanned, err := scan(s.PID(), needles)
	if err != nil {
		t.Fatal(err)
	}
	if scanned < 10<<20 {
		t.Fatalf("only %d bytes could be read", scanned)
	}
	found := map[string][]hit{}
	for _, h := range hits {
		found[h.secret] = append(found[h.secret], h)
	}
	return found
}

// frozen calls f while the server does nothing at all.
func frozen(t *testing.T, s *kit.Server, f func()) {
	t.Helper()
	if err := syscall.Kill(s.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	f()
	if err := syscall.Kill(s.PID(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// all returns the keys of one kind.
func (k *keys) all(kind string) (out []needle) {
	of := map[string][][]byte{"starter key": {k.starter}, "master key": k.masters, "root secret": k.roots, "file key": k.files, "payload key": k.payload}[kind]
	for _, b := range k.epochs {
		if kind == "epoch key" {
			of = append(of, b)
		}
	}
	for i, b := range of {
		out = append(out, newNeedle(fmt.Sprintf("%s %d", kind, i), b))
	}
	return out
}

// rootKeys opens a copy of the server's root beside the running server.
func rootKeys(t *testing.T, s *kit.Server) *keys {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	copyRoot := exec.Command("sh", "-c", `mkdir -p "$2" && cd "$1" && tar --exclude="*.sock" --exclude='index.db*' -cf - . | tar -xf - -C "$2"`, "sh", s.Root, dir)
	frozen(t, s, func() { // what moves meanwhile would be missed
		if out, err := copyRoot.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
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

// The servers that are shipped leave no core dump.
func TestShippedServersLeaveNoCoreDump(t *testing.T) {
	s := kit.NewShipped(t)
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok && strings.Fields(rest)[0] != "0" {
			t.Errorf("core dumps are allowed: %s", line)
		}
	}
}
