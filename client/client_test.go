package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/efs-project/efs/internal/efstest"
)

// dial starts a server of its own and logs a user in.
func dial(t *testing.T) (*Client, *efstest.Server) {
	t.Helper()
	s, cfg := startServer(t)
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, s
}

func startServer(t *testing.T) (*efstest.Server, Config) {
	t.Helper()
	s, err := efstest.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("stopping the server: %v", err)
		}
	})
	key, cert, err := s.AddPGPUser(efstest.FS, "app1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := LoadKey(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, Config{URL: s.URL, Signer: signer, CertFile: cert, CAFile: s.CAFile}
}

func randomBytes(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func mustPut(t *testing.T, c *Client, path string, content []byte) *Stored {
	t.Helper()
	stored, err := c.Put(t.Context(), path, bytes.NewReader(content), PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func TestWhatIsPutIsRead(t *testing.T) {
	c, _ := dial(t)
	sizes := []int{0, 1, 4096, 16<<10 + 1, 64 << 10, 64<<10 + 1, 3 << 20}
	for _, size := range sizes {
		content := randomBytes(t, size)
		path := fmt.Sprintf("/sizes/%d ü%%2F?#&+.bin", size)
		stored, err := c.Put(t.Context(), path, bytes.NewReader(content), PutOptions{Meta: map[string]string{"ward": "7 ü"}, Type: "image/x-test"})
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%x", sha256.Sum256(content)); !stored.Created || stored.Size != int64(size) || stored.SHA256 != want || stored.Path != path {
			t.Errorf("%d bytes: stored %+v, want sha256 %s", size, stored, want)
		}
		body, err := c.Get(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes: read %d bytes, %v", size, len(got), err)
		}
		e := body.Entry
		if e.Size != int64(size) || e.ETag != stored.ETag || e.SHA256 != stored.SHA256 || e.Type != "image/x-test" || e.Meta["ward"] != "7 ü" || e.Modified.IsZero() {
			t.Errorf("%d bytes: entry %+v", size, e)
		}
		if err := body.Close(); err != nil {
			t.Error(err)
		}
	}
}

// onlyReader hides that a body can be read again.
type onlyReader struct{ io.Reader }

func TestBodyOfUnknownLength(t *testing.T) {
	c, _ := dial(t)
	content := randomBytes(t, 2<<20+17)
	if _, err := c.Put(t.Context(), "stream", onlyReader{bytes.NewReader(content)}, PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.ReadFile(t.Context(), "stream"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

func TestPutIsConditional(t *testing.T) {
	c, _ := dial(t)
	first := mustPut(t, c, "/a", []byte("one"))
	_, err := c.Put(t.Context(), "/a", strings.NewReader("two"), PutOptions{IfNoneMatch: true})
	if !errors.Is(err, ErrPrecondition) {
		t.Errorf("IfNoneMatch over a file: %v", err)
	}
	if _, err := c.Put(t.Context(), "/a", strings.NewReader("two"), PutOptions{IfMatch: first.ETag}); err != nil {
		t.Errorf("IfMatch of the version that is there: %v", err)
	}
	if _, err := c.Put(t.Context(), "/a", strings.NewReader("three"), PutOptions{IfMatch: first.ETag}); !errors.Is(err, ErrPrecondition) {
		t.Errorf("IfMatch of an older version: %v", err)
	}
	if got, _ := c.ReadFile(t.Context(), "/a"); string(got) != "two" {
		t.Errorf("content is %q", got)
	}
}

func TestDigestIsCheckedBeforeConfirming(t *testing.T) {
	c, _ := dial(t)
	_, err := c.Put(t.Context(), "/a", strings.NewReader("content"), PutOptions{SHA256: strings.Repeat("00", 32)})
	if !errors.Is(err, ErrDigest) {
		t.Errorf("a wrong digest gave %v", err)
	}
	if _, err := c.Stat(t.Context(), "/a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after a refused store, Stat gave %v", err)
	}
}

func TestRanges(t *testing.T) {
	c, _ := dial(t)
	content := randomBytes(t, 200_000)
	mustPut(t, c, "/big", content)
	for _, r := range []struct{ off, n int64 }{{0, 1}, {65535, 2}, {131072, 65536}, {199_999, 100}, {0, 200_000}, {5, -1}, {200_000, 10}, {300_000, -1}, {7, 0}} {
		body, err := c.GetRange(t.Context(), "/big", r.off, r.n)
		if err != nil {
			t.Errorf("range %v: %v", r, err)
			continue
		}
		got, err := io.ReadAll(body)
		end := min(r.off+r.n, 200_000)
		if r.n < 0 {
			end = 200_000
		}
		want := content[min(r.off, 200_000):max(end, min(r.off, 200_000))]
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("range %v: %d bytes, %v; want %d", r, len(got), err, len(want))
		}
		if body.Entry.Size != 200_000 {
			t.Errorf("range %v: size %d", r, body.Entry.Size)
		}
	}
}

func TestOpenNoticesReplacement(t *testing.T) {
	c, _ := dial(t)
	content := randomBytes(t, 150_000)
	mustPut(t, c, "/f", content)
	f, err := c.Open(t.Context(), "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if n, err := f.ReadAt(make([]byte, 10), 149_995); n != 5 || err != io.EOF {
		t.Errorf("across the end: %d, %v; want 5, EOF", n, err)
	}
	mustPut(t, c, "/f", randomBytes(t, 150_000))
	if _, err := f.ReadAt(make([]byte, 10), 0); !errors.Is(err, ErrConflict) {
		t.Errorf("after a replacement ReadAt gave %v", err)
	}
	if err := c.Remove(t.Context(), "/f", RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(make([]byte, 10), 0); !errors.Is(err, ErrConflict) {
		t.Errorf("after a removal ReadAt gave %v", err)
	}
}

func paths(t *testing.T, c *Client, dir string, o ListOptions) []string {
	t.Helper()
	var found []string
	for e, err := range c.List(t.Context(), dir, o) {
		if err != nil {
			t.Fatal(err)
		}
		if e.IsDir() {
			e.Path += "/"
		}
		found = append(found, e.Path)
	}
	return found
}

func TestListGoesThroughAllPages(t *testing.T) {
	c, _ := dial(t)
	var want []string
	for i := range 25 {
		p := fmt.Sprintf("/d/%02d", i)
		mustPut(t, c, p, []byte("x"))
		want = append(want, p)
	}
	mustPut(t, c, "/d/sub/deep/x", nil)
	want = append(want, "/d/sub/")
	if got := paths(t, c, "/d", ListOptions{PageSize: 7}); !slices.Equal(got, want) {
		t.Errorf("listed %q\nwant   %q", got, want)
	}
	if got := paths(t, c, "/d", ListOptions{After: "23"}); !slices.Equal(got, want[24:]) {
		t.Errorf("after 23: %q", got)
	}
	want = append(want, "/d/sub/deep/", "/d/sub/deep/x")
	if got := paths(t, c, "d/", ListOptions{Recursive: true, PageSize: 4}); !slices.Equal(got, want) {
		t.Errorf("recursive: %q\nwant %q", got, want)
	}
	for _, err := range c.List(t.Context(), "/nowhere", ListOptions{}) {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("listing what is not there gave %v", err)
		}
	}
}

func TestTreeOperations(t *testing.T) {
	c, _ := dial(t)
	ctx := t.Context()
	mustPut(t, c, "/a/x", []byte("x"))
	if err := c.Mkdir(ctx, "/empty", MkdirOptions{}); err != nil {
		t.Error(err)
	}
	if e, err := c.Stat(ctx, "/empty"); err != nil || !e.IsDir() || e.Path != "/empty" {
		t.Errorf("Stat of a directory: %+v, %v", e, err)
	}
	if err := c.Mkdir(ctx, "/empty", MkdirOptions{}); !errors.Is(err, ErrExists) {
		t.Errorf("Mkdir of what is there: %v", err)
	}
	if err := c.Move(ctx, "/a/x", "/b/c/y", MoveOptions{}); err != nil {
		t.Error(err)
	}
	if err := c.Copy(ctx, "/b/c/y", "/b/c/z", MoveOptions{}); err != nil {
		t.Error(err)
	}
	if err := c.Move(ctx, "/b/c/y", "/b/c/z", MoveOptions{NoOverwrite: true}); !errors.Is(err, ErrExists) && !errors.Is(err, ErrPrecondition) {
		t.Errorf("Move over a file with NoOverwrite: %v", err)
	}
	if err := c.Move(ctx, "/b", "/moved", MoveOptions{}); err != nil {
		t.Errorf("moving a directory: %v", err)
	}
	if err := c.Copy(ctx, "/moved", "/copied", MoveOptions{}); err != nil {
		t.Errorf("copying a directory: %v", err)
	}
	kind := "text/x-note"
	ward := "9"
	if err := c.Patch(ctx, "/moved/c/y", PatchOptions{Type: &kind, Meta: map[string]*string{"ward": &ward}}); err != nil {
		t.Error(err)
	}
	if e, err := c.Stat(ctx, "/moved/c/y"); err != nil || e.Type != kind || e.Meta["ward"] != "9" {
		t.Errorf("after Patch: %+v, %v", e, err)
	}
	if err := c.Remove(ctx, "/moved", RemoveOptions{}); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("Remove of a directory with something in it: %v", err)
	}
	if err := c.RemoveAll(ctx, "/moved"); err != nil {
		t.Error(err)
	}
	for _, p := range []string{"/a", "/empty"} {
		if err := c.Remove(ctx, p, RemoveOptions{}); err != nil {
			t.Errorf("removing the empty directory %s: %v", p, err)
		}
	}
	if err := c.RemoveAll(ctx, "/copied/c/z"); err != nil {
		t.Errorf("RemoveAll of a file: %v", err)
	}
	want := []string{"/copied/", "/copied/c/", "/copied/c/y"}
	if got := paths(t, c, "/", ListOptions{Recursive: true}); !slices.Equal(got, want) {
		t.Errorf("left: %q, want %q", got, want)
	}
}

func TestAttributesAndSymlinks(t *testing.T) {
	c, _ := dial(t)
	ctx := t.Context()
	when := time.Date(2001, 2, 3, 4, 5, 6, 789012000, time.UTC)
	meta := map[string]string{"ward": "7 ü"}
	stored, err := c.Put(ctx, "/d/file", strings.NewReader("content"), PutOptions{Mode: 0o4755, Modified: when, Meta: meta})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Mkdir(ctx, "/d/dir", MkdirOptions{Mode: 0o750, Modified: when, Meta: meta}); err != nil {
		t.Fatal(err)
	}
	target := "../é x%41\"\n"
	link, err := c.Symlink(ctx, "/d/link", target, PutOptions{Mode: 0o777, Modified: when, Meta: meta, Type: "ignored/x"})
	if err != nil || !link.Created || link.Size != 0 || link.Path != "/d/link" {
		t.Fatalf("%+v, %v", link, err)
	}
	want := map[string]Entry{
		"file": {Kind: "file", Mode: 0o4755, SHA256: stored.SHA256}, "dir": {Kind: "directory", Mode: 0o750}, "link": {Kind: "symlink", Mode: 0o777, Target: target},
	}
	compare := func(what string, got *Entry) {
		t.Helper()
		w := want[got.Name]
		if got.Kind != w.Kind || got.Mode != w.Mode || got.SHA256 != w.SHA256 || got.Target != w.Target || got.Meta["ward"] != "7 ü" || !got.Modified.Equal(when) || got.ETag == "" {
			t.Errorf("%s: %+v, want %+v", what, got, w)
		}
		var again Entry
		if b, err := json.Marshal(got); err != nil || json.Unmarshal(b, &again) != nil || !reflect.DeepEqual(*got, again) {
			t.Errorf("%s: %s is read as %+v: %v", what, b, again, err)
		}
	}
	seen := 0
	for e, err := range c.List(ctx, "/d", ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		seen++
		compare("listed", &e)
		if e.Created.IsZero() {
			t.Errorf("%s has no time of creation", e.Name)
		}
		s, err := c.Stat(ctx, e.Path)
		if err != nil {
			t.Fatal(err)
		}
		compare("looked up", s)
	}
	if seen != 3 {
		t.Errorf("%d entries", seen)
	}
	if _, err := c.Get(ctx, "/d/link"); !errors.Is(err, ErrSymlink) {
		t.Errorf("reading a symlink: %v", err)
	}
	if _, err := c.Open(ctx, "/d/link"); !errors.Is(err, ErrSymlink) {
		t.Errorf("opening a symlink: %v", err)
	}
	if _, err := c.GetRange(ctx, "/d/link", 0, 0); !errors.Is(err, ErrSymlink) {
		t.Errorf("reading nothing of a symlink: %v", err)
	}
	if _, err := c.Symlink(ctx, "/d/link", "", PutOptions{}); !errors.Is(err, ErrBadInput) {
		t.Errorf("a symlink to nothing: %v", err)
	}
	if _, err := c.Symlink(ctx, "/d/link", "x", PutOptions{IfNoneMatch: true}); !errors.Is(err, ErrPrecondition) {
		t.Errorf("a symlink that must be new: %v", err)
	}
	for mode, path := range map[uint32]string{0o700: "/d/dir", 0o640: "/d/file", 0: "/d/link"} {
		if err := c.Patch(ctx, path, PatchOptions{Mode: &mode}); err != nil {
			t.Fatal(err)
		}
		if e, err := c.Stat(ctx, path); err != nil || e.Mode != mode {
			t.Errorf("%s: mode %o, %v", path, e.Mode, err)
		}
	}
}

func TestErrorsTellKinds(t *testing.T) {
	c, _ := dial(t)
	ctx := t.Context()
	mustPut(t, c, "/file", []byte("x"))
	if err := c.Mkdir(ctx, "/dir", MkdirOptions{}); err != nil {
		t.Fatal(err)
	}
	get := func(p string) error { _, err := c.Get(ctx, p); return err }
	put := func(p string) error { _, err := c.Put(ctx, p, strings.NewReader("x"), PutOptions{}); return err }
	for _, tt := range []struct {
		name string
		err  error
		want error
	}{
		{"get nothing", get("/nothing"), ErrNotFound},
		{"get directory", get("/dir"), ErrIsDir},
		{"get root", get("/"), ErrIsDir},
		{"put over directory", put("/dir"), ErrIsDir},
		{"put below file", put("/file/x"), ErrNotDir},
		{"put dots", put("/a/../b"), ErrBadPath},
		{"put empty segment", put("/a//b"), ErrBadPath},
		{"put overlong", put("/" + strings.Repeat("x", 256)), ErrBadPath},
		{"put invalid UTF-8", put("/\xff"), ErrBadPath},
		{"remove nothing", c.Remove(ctx, "/nothing", RemoveOptions{}), ErrNotFound},
		{"move nothing", c.Move(ctx, "/nothing", "/x", MoveOptions{}), ErrNotFound},
		{"copy into itself", c.Copy(ctx, "/dir", "/dir/sub", MoveOptions{}), ErrBadInput},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, tt.err, tt.want)
		}
	}
	var e *Error
	if err := get("/nothing"); !errors.As(err, &e) || e.Status != 404 || e.RequestID == "" || e.Type != "not-found" || e.Detail == "" {
		t.Errorf("problem document of a missing file: %+v", e)
	}
}

func TestChangesAreFollowed(t *testing.T) {
	c, _ := dial(t)
	mustPut(t, c, "/one", []byte("1"))
	var since uint64
	for change, err := range c.Changes(t.Context(), ChangesOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		since = change.Seq
	}
	if newest, err := c.Sequence(t.Context()); err != nil || newest != since {
		t.Errorf("the newest change is %d, %v; the log ends with %d", newest, err, since)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	made := make(chan error, 1)
	go func() {
		time.Sleep(50 * time.Millisecond)
		_, err := c.Put(ctx, "/two", strings.NewReader("22"), PutOptions{})
		if err == nil {
			err = c.Move(t.Context(), "/two", "/three", MoveOptions{})
		}
		made <- err
	}()
	var got []string
	for change, err := range c.Changes(ctx, ChangesOptions{Since: since, Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimSpace(change.Op+" "+change.From+" "+change.Path+" "+change.User))
		if change.Op == "move" {
			break
		}
	}
	if err := <-made; err != nil {
		t.Error(err)
	}
	if want := []string{"create  /two app1", "move /two /three app1"}; !slices.Equal(got, want) {
		t.Errorf("followed %q, want %q", got, want)
	}
}

func TestManyAtOnce(t *testing.T) {
	c, _ := dial(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			content := fmt.Appendf(nil, "content %d", i)
			path := fmt.Sprintf("/many/%d", i)
			if _, err := c.Put(t.Context(), path, bytes.NewReader(content), PutOptions{}); err != nil {
				t.Error(err)
			}
			if got, err := c.ReadFile(t.Context(), path); err != nil || !bytes.Equal(got, content) {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
	wg.Wait()
}

func TestConfigIsChecked(t *testing.T) {
	s, good := startServer(t)
	_, other, err := s.AddPGPUser(efstest.FS, "app2")
	if err != nil {
		t.Fatal(err)
	}
	noCA := filepath.Join(t.TempDir(), "no.crt")
	if err := os.WriteFile(noCA, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*Config)
		says   string
	}{
		{"no URL", func(c *Config) { c.URL = "" }, "no server given"},
		{"http", func(c *Config) { c.URL = "http://localhost" }, "https://"},
		{"path in URL", func(c *Config) { c.URL += "/data" }, "not of the form"},
		{"no key", func(c *Config) { c.Signer = nil }, "no key"},
		{"no certificate", func(c *Config) { c.CertFile = "" }, "no client certificate"},
		{"certificate without key", func(c *Config) { c.CertFile = c.CAFile }, "must hold a certificate and its key"},
		{"another user", func(c *Config) { c.User = "app2" }, "app1@user-data's, not app2@user-data's"},
		{"another user's certificate", func(c *Config) { c.CertFile = other }, "does not open a session"},
		{"empty CA file", func(c *Config) { c.CAFile = noCA }, "holds no certificate"},
		{"untrusted server", func(c *Config) { c.CAFile = "" }, "SHA-256 fingerprint is "},
		{"another name", func(c *Config) { c.URL = strings.Replace(c.URL, "127.0.0.1", "0.0.0.0", 1) }, "not made out to that name"},
	} {
		cfg := good
		tt.change(&cfg)
		c, err := Dial(t.Context(), cfg)
		if err == nil {
			_ = c.Close()
			t.Errorf("%s: was accepted", tt.name)
		} else if !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v\nshould say %q", tt.name, err, tt.says)
		}
	}
}
