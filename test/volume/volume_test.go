// Package volume plays somebody who can write the server's volume but has no
// key: whatever he replaces, he gets in nowhere, no wrong byte is delivered,
// and the server says what does not fit.
package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// system returns a path below the file system's system directory.
func system(s *kit.Server, fsName string, elem ...string) string {
	return filepath.Join(append([]string{s.Root, fsName, "system"}, elem...)...)
}

func put(t *testing.T, c *client.Client, path string, body []byte) {
	t.Helper()
	if _, err := c.Put(t.Context(), path, bytes.NewReader(body), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

// get reads a file whole; what it returns beside an error was delivered
// before the error.
func get(ctx context.Context, c *client.Client, path string) ([]byte, error) {
	r, err := c.Get(ctx, path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// attacker starts a server of the attacker's own, with names of the same
// spelling and keys and certificates that the attacker holds.
func attacker(t *testing.T) *kit.Server {
	t.Helper()
	return kit.New(t)
}

// TestReplacedExports replaces what lies under system/ for people: it lets
// nobody in, the rightful user still gets in, and status and log say so.
func TestReplacedExports(t *testing.T) {
	s, own := kit.New(t), attacker(t)
	put(t, s.Client(), "/report", []byte("the report"))
	mine := own.Config()
	for _, name := range []string{"ca.crt", "fs.toml", "users/" + kit.User + "/pub.pgp", "users/" + kit.User + "/tls.crt"} {
		t.Run(name, func(t *testing.T) {
			file := system(s, kit.FS, filepath.FromSlash(name))
			was, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s.Stop()
			if name == "fs.toml" {
				changed := bytes.ReplaceAll(was, []byte("AES256"), []byte("NONE"))
				if bytes.Equal(was, changed) {
					t.Fatalf("fs.toml does not name the algorithm:\n%s", was)
				}
				if err := os.WriteFile(file, changed, 0o600); err != nil {
					t.Fatal(err)
				}
			} else {
				copyFile(t, system(own, kit.FS, filepath.FromSlash(name)), file)
			}
			before := len(s.Log())
			s.Start()
			if log := s.Log()[before:]; !strings.Contains(log, name) && !strings.Contains(log, filepath.Base(name)) {
				t.Errorf("the log does not say that %s does not fit:\n%s", name, log)
			}
			if out := s.Ctl("status"); !strings.Contains(out, filepath.Base(name)) {
				t.Errorf("status does not say that %s does not fit:\n%s", name, out)
			}
			mine.URL, mine.CAFile = s.URL, s.Config().CAFile
			if c, err := client.Dial(t.Context(), mine); err == nil {
				_, err := get(t.Context(), c, "/report")
				t.Errorf("the attacker got in; reading gave %v", err)
			} else if !errors.Is(err, client.ErrDenied) {
				t.Errorf("the attacker was turned away, but by: %v", err)
			}
			if b, err := get(t.Context(), s.Client(), "/report"); err != nil || string(b) != "the report" {
				t.Errorf("the rightful user reads %q, %v", b, err)
			}
			if err := os.WriteFile(file, was, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestPlantedUser puts a whole user's folder there: it makes no user.
func TestPlantedUser(t *testing.T) {
	s, own := kit.New(t), attacker(t)
	s.Stop()
	own.Ctl("create-user", "mallory", "--fs", kit.FS, "--generate", "--out", own.Out+"-mallory")
	if err := os.CopyFS(system(s, kit.FS, "users", "mallory"), os.DirFS(system(own, kit.FS, "users", "mallory"))); err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !strings.Contains(s.Log(), "mallory") {
		t.Errorf("the log does not mention the planted user:\n%s", s.Log())
	}
	if out := s.Ctl("list-users", kit.FS); strings.Contains(out, "mallory") {
		t.Errorf("the planted user is listed:\n%s", out)
	}
	own.Out += "-mallory"
	cfg := own.Config()
	cfg.URL, cfg.CAFile = s.URL, s.Config().CAFile
	if _, err := client.Dial(t.Context(), cfg); !errors.Is(err, client.ErrDenied) {
		t.Errorf("the planted user: %v", err)
	}
}

// TestOlderIndex puts back an index from before a revocation: the file system
// is not served, and the server says why.
func TestOlderIndex(t *testing.T) {
	s := kit.New(t)
	put(t, s.Client(), "/report", []byte("the report"))
	s.Stop()
	index := system(s, kit.FS, "index.db")
	copyFile(t, index, index+".old")
	s.Start()
	s.Ctl("revoke", kit.User, "--fs", kit.FS)
	s.Kill()
	copyFile(t, index+".old", index)
	if err := os.Remove(index + ".old"); err != nil {
		t.Fatal(err)
	}
	before := len(s.Log())
	s.TryStart() // may be ready or not: it must not serve
	if !s.Running() {
		s.Start()
	}
	if c, err := s.TryClient(); err == nil {
		b, err := get(t.Context(), c, "/report")
		t.Errorf("a revoked user reads %q, %v", b, err)
	}
	if log := s.Log()[before:]; !strings.Contains(log, "older") || !strings.Contains(log, "accept-rollback") {
		t.Errorf("the log does not say that the index is older than its anchor and what to do:\n%s", log)
	}
	if out, _ := s.TryCtl("status"); !strings.Contains(out, "older") {
		t.Errorf("status does not say that the index is older than its anchor:\n%s", out)
	}
}

// TestForeignKeys gives a file system the sealed keys of another one of the
// same server, and the server the key store of another server.
func TestForeignKeys(t *testing.T) {
	s := kit.New(t)
	s.Ctl("create-fs", "other")
	put(t, s.Client(), "/report", []byte("the report"))
	s.Stop()
	for _, name := range []string{"aes.key", "filename-salt"} {
		copyFile(t, system(s, "other", name), system(s, kit.FS, name))
	}
	s.Start()
	if log := s.Log(); !strings.Contains(log, "aes.key") || !strings.Contains(log, "filename-salt") {
		t.Errorf("the log does not say which keys do not fit:\n%s", log)
	}
	if b, err := get(t.Context(), s.Client(), "/report"); err != nil || string(b) != "the report" {
		t.Errorf("reading after the copies were replaced: %q, %v", b, err)
	}
	s.Stop()

	own := attacker(t)
	own.Stop()
	copyFile(t, filepath.Join(own.Root, ".server", "keys.db"), filepath.Join(s.Root, ".server", "keys.db"))
	before := len(s.Log())
	if s.TryStart(); s.Running() {
		if c, err := s.TryClient(); err == nil {
			b, err := get(t.Context(), c, "/report")
			t.Errorf("with a foreign key store: %q, %v", b, err)
		}
	}
	if log := s.Log()[before:]; !strings.Contains(log, "keys.db") {
		t.Errorf("the log does not say that the key store does not fit:\n%s", log)
	}
	if s.Running() {
		s.Kill()
	}
}

// TestForeignIndex gives a file system the index of another one.
func TestForeignIndex(t *testing.T) {
	s := kit.New(t)
	s.Ctl("create-fs", "other")
	put(t, s.Client(), "/report", []byte("the report"))
	s.Stop()
	copyFile(t, system(s, "other", "index.db"), system(s, kit.FS, "index.db"))
	s.TryStart()
	if !s.Running() {
		t.Fatalf("one file system's index stopped the whole server:\n%s", s.Log())
	}
	if c, err := s.TryClient(); err == nil {
		b, err := get(t.Context(), c, "/report")
		t.Errorf("with a foreign index: %q, %v", b, err)
	}
	if out := s.Ctl("status"); !strings.Contains(out, kit.FS) || !strings.Contains(out, "other") {
		t.Errorf("status:\n%s", out)
	}
}

// blobs returns the paths of the stored blobs.
func blobs(t *testing.T, s *kit.Server) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(filepath.Join(s.Root, kit.FS, "files"), func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && len(d.Name()) == 36 {
			all = append(all, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wrong reads path whole and in ranges and reports every byte that is
// delivered and wrong; it wants at least one of the reads to fail.
func wrong(t *testing.T, c *client.Client, path string, want []byte, what string) {
	t.Helper()
	failed := false
	b, err := get(t.Context(), c, path)
	if !bytes.HasPrefix(want, b) {
		t.Errorf("%s: a wrong byte of %s was delivered", what, path)
	}
	if err == nil && !bytes.Equal(b, want) {
		t.Errorf("%s: %s ended as if whole after %d of %d bytes", what, path, len(b), len(want))
	}
	failed = err != nil
	f, err := c.Open(t.Context(), path)
	if err == nil {
		defer f.Close()
		part := make([]byte, 5000)
		for off := 0; off < len(want); off += 50_000 {
			n, err := f.ReadAt(part, int64(off))
			if !bytes.Equal(part[:n], want[off:min(off+n, len(want))]) {
				t.Errorf("%s: a wrong byte of %s at %d was delivered in a range", what, path, off)
			}
			failed = failed || err != nil && err != io.EOF
		}
	} else {
		failed = true
	}
	if !failed {
		t.Errorf("%s: every read of %s succeeded", what, path)
	}
}

// TestBlobs damages blobs under a running server in the ways there are.
func TestBlobs(t *testing.T) {
	s := kit.New(t)
	c := s.Client()
	bodies := map[string][]byte{}
	for i := range 2 {
		path := fmt.Sprintf("/scan-%d", i)
		bodies[path] = kit.Pattern(uint64(i), 300_000)
		put(t, c, path, bodies[path])
	}
	files := blobs(t, s)
	if len(files) != 2 {
		t.Fatalf("%d blobs for 2 large files", len(files))
	}
	var sealed [2][]byte
	for i, f := range files {
		var err error
		if sealed[i], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	segment := 64<<10 + 16
	for what, change := range map[string]func() (a, b []byte){
		"exchanged":        func() (a, b []byte) { return sealed[1], sealed[0] },
		"one for both":     func() (a, b []byte) { return sealed[1], sealed[1] },
		"cut at a segment": func() (a, b []byte) { return sealed[0][:len(sealed[0])-segment], sealed[1][:len(sealed[1])-segment] },
		"cut by a byte":    func() (a, b []byte) { return sealed[0][:len(sealed[0])-1], sealed[1][:len(sealed[1])-1] },
		"longer":           func() (a, b []byte) { return append(bytes.Clone(sealed[0]), 0), append(bytes.Clone(sealed[1]), 0) },
		"emptied":          func() (a, b []byte) { return nil, nil },
		"segments swapped": func() (a, b []byte) { return swapped(sealed[0], segment), swapped(sealed[1], segment) },
		"segment repeated": func() (a, b []byte) { return repeated(sealed[0], segment), repeated(sealed[1], segment) },
		"flipped at start": func() (a, b []byte) { return flipped(sealed[0], 3), flipped(sealed[1], 3) },
		"flipped in middle": func() (a, b []byte) {
			return flipped(sealed[0], len(sealed[0])/2), flipped(sealed[1], len(sealed[1])/2)
		},
		"flipped at end": func() (a, b []byte) {
			return flipped(sealed[0], len(sealed[0])-1), flipped(sealed[1], len(sealed[1])-1)
		},
	} {
		a, b := change()
		for i, content := range [][]byte{a, b} {
			if err := os.WriteFile(files[i], content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if what == "one for both" { // one of the two is still right
			intact := 0
			for path, want := range bodies {
				if got, err := get(t.Context(), c, path); err == nil && bytes.Equal(got, want) {
					intact++
				} else if !bytes.HasPrefix(want, got) {
					t.Errorf("%s: a wrong byte of %s was delivered", what, path)
				}
			}
			if intact != 1 {
				t.Errorf("%s: %d files read as whole, want 1", what, intact)
			}
		} else {
			for path, want := range bodies {
				wrong(t, c, path, want, what)
			}
		}
		if out, err := s.TryCtl("fsck", kit.FS, "--deep"); err == nil {
			t.Errorf("%s: fsck --deep finds nothing:\n%s", what, out)
		}
		for i := range files {
			if err := os.WriteFile(files[i], sealed[i], 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for path, want := range bodies {
		if got, err := get(t.Context(), c, path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s, put back as it was: %v", path, err)
		}
	}
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0x40
	return b
}

// swapped exchanges two runs of a segment's length, both past the header;
// repeated writes one of them over the other.
func swapped(b []byte, segment int) []byte {
	b = bytes.Clone(b)
	one, two := b[len(b)-3*segment:len(b)-2*segment], b[len(b)-2*segment:len(b)-segment]
	tmp := bytes.Clone(one)
	copy(one, two)
	copy(two, tmp)
	return b
}

func repeated(b []byte, segment int) []byte {
	b = bytes.Clone(b)
	copy(b[len(b)-2*segment:len(b)-segment], b[len(b)-3*segment:len(b)-2*segment])
	return b
}
