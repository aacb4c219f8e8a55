package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// volume is what a server leaves behind, and what was stored on it.
type volume struct {
	*kit.Server
	files map[string][]byte
}

var (
	longName  = strings.Repeat("a long name ", 20) + ".txt"
	storedAt  = time.Date(2021, 3, 4, 5, 6, 7, 891_000_000, time.UTC)
	keptMeta  = map[string]string{"patient": "Grüße", "empty": ""}
	largeSize = 9<<20 + 17 // too large to be opened in memory
	partSize  = 1 << 20
)

// filled starts a server and stores files of all kinds on it.
func filled(t *testing.T, args ...string) *volume {
	t.Helper()
	v := &volume{Server: kit.New(t, args...), files: map[string][]byte{
		"readme.txt":                {},
		"docs/small.txt":            []byte("small"),
		"docs/" + longName:          []byte("long"),
		"docs/über/ünïcødé 日本.txt":  []byte("unicode"),
		"docs/large.bin":            kit.Pattern(1, largeSize),
		"docs.txt":                  []byte("sorts between"),
		"docs/deep/er/and/deeper/x": kit.Pattern(2, 40<<10),
	}}
	v.store(t, v.files)
	c := v.Client()
	defer func() { _ = c.Close() }()
	ctx := t.Context()
	parts := kit.Pattern(9, 3*partSize-5)
	o := client.UploadOptions{PartSize: int64(partSize), PutOptions: client.PutOptions{Mode: 0o640, Modified: storedAt}}
	if _, err := c.Upload(ctx, "docs/parts.bin", bytes.NewReader(parts), int64(len(parts)), o); err != nil {
		t.Fatal(err)
	}
	v.files["docs/parts.bin"] = parts
	if _, err := c.Symlink(ctx, "docs/link", "../readme.txt", client.PutOptions{Modified: storedAt}); err != nil {
		t.Fatal(err)
	}
	if err := c.Mkdir(ctx, "empty", client.MkdirOptions{Mode: 0o750}); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *volume) store(t *testing.T, files map[string][]byte) {
	t.Helper()
	c := v.Client()
	defer func() { _ = c.Close() }()
	for name, body := range files {
		o := client.PutOptions{Mode: 0o640, Modified: storedAt, Type: "text/x-test", Meta: keptMeta}
		if _, err := c.Put(t.Context(), name, bytes.NewReader(body), o); err != nil {
			t.Fatal(err)
		}
	}
}

// recovered runs efs-recover on the volume; its exit code must be code, or with
// -1 one of those with which something comes out.
func (v *volume) recovered(t *testing.T, code int, args ...string) (stdout []byte, stderr string) {
	t.Helper()
	return recoverWith(t, code, append([]string{"--root", v.Root, "--fs", kit.FS}, args...)...)
}

func recoverWith(t *testing.T, code int, args ...string) (stdout []byte, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), kit.Bin(t, "efs-recover"), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if got != code && !(code == -1 && got < exitFailure) {
		t.Fatalf("efs-recover %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, code, errs.String())
	}
	return out.Bytes(), errs.String()
}

// contents returns the files of a tar by name, after checking that it is whole.
func contents(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			all[h.Name] = body
		case tar.TypeDir, tar.TypeSymlink, tar.TypeXGlobalHeader:
		default:
			t.Errorf("%s is of type %c", h.Name, h.Typeflag)
		}
	}
}

func same(t *testing.T, what string, got, want map[string][]byte) {
	t.Helper()
	for name, body := range want {
		if have, ok := got[name]; !ok {
			t.Errorf("%s: %s is missing", what, name)
		} else if !bytes.Equal(have, body) {
			t.Errorf("%s: %s has %d other bytes", what, name, len(have))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %s is too much", what, name)
		}
	}
}

// snapshot is every byte below a directory, by name.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// below returns the files at name/, under what follows it, and prefix.
func below(all map[string][]byte, prefix string) map[string][]byte {
	some := map[string][]byte{}
	for name, body := range all {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			some[rest] = body
		}
	}
	return some
}

// journaled waits until there is a journal. A server that stops in order ends it.
func (v *volume) journaled(t *testing.T) {
	t.Helper()
	for range 600 {
		some, err := filepath.Glob(filepath.Join(v.Root, kit.FS, "files", "journal", "*.*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(some) > 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the server keeps no journal")
}
