package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/stage"
	"github.com/efs-project/efs/test/kit"
)

// TestASyncThatIsKilled ends efs with SIGKILL again and again, in either
// direction: whatever is to be seen at the receiving side is a whole file of
// the source, and one more run makes the sides the same.
func TestASyncThatIsKilled(t *testing.T) {
	server := kit.New(t)
	dir := t.TempDir()
	out, err := server.TryCtl("create-fs", "killed")
	if err == nil {
		out, err = server.TryCtl("create-user", "app1", "--fs", "killed", "--generate", "--out", filepath.Join(dir, "app1"))
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := writeRemote(dir, server.URL, "killed"); err != nil {
		t.Fatal(err)
	}
	sync := func(ctx context.Context, from, to string) (string, error) {
		cmd := exec.CommandContext(ctx, kit.Bin(t, "efs"), "cp", "--sync", from, to) // the end of ctx is a SIGKILL
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(dir, ".config"), "XDG_STATE_HOME="+filepath.Join(dir, "state"))
		b, err := cmd.CombinedOutput()
		return string(b), err
	}
	want := map[string][]byte{"large": kit.Pattern(1, 70<<20)}
	for i := range 300 {
		want[fmt.Sprintf("d%d/f%d", i%7, i)] = kit.Pattern(uint64(i), 100+i*17)
	}
	for name, b := range want {
		path := filepath.Join(dir, "in", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	cfg := client.Config{URL: server.URL, FS: "killed", User: "app1", CertFile: filepath.Join(dir, "app1", "clientCert.crt"), CAFile: filepath.Join(dir, "app1", "ca.crt")}
	if cfg.Signer, err = client.LoadKey(filepath.Join(dir, "app1", "priv.pgp"), nil); err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	remote := func() (seen int) {
		for e, err := range c.List(t.Context(), "/to", client.ListOptions{Recursive: true}) {
			if errors.Is(err, client.ErrNotFound) {
				return 0
			}
			if err != nil {
				t.Fatal(err)
			}
			if e.IsDir() {
				continue
			}
			seen++
			b, err := c.ReadFile(t.Context(), e.Path)
			if name := strings.TrimPrefix(e.Path, "/to/"); err != nil || !bytes.Equal(b, want[name]) {
				t.Fatalf("%s has %d bytes, want %d; %v", e.Path, len(b), len(want[name]), err)
			}
		}
		return seen
	}
	local := func() (seen int) {
		err := filepath.WalkDir(filepath.Join(dir, "out"), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || stage.IsTemporary(e.Name()) {
				return err
			}
			seen++
			b, err := os.ReadFile(path)
			name, rerr := filepath.Rel(filepath.Join(dir, "out"), path)
			if !bytes.Equal(b, want[filepath.ToSlash(name)]) {
				t.Fatalf("%s has %d bytes, want %d", name, len(b), len(want[name]))
			}
			return errors.Join(err, rerr)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return seen
	}
	for _, way := range []struct {
		from, to string
		look     func() int
	}{{"in", "drive:/to", remote}, {"drive:/to", "out", local}} {
		for limit := 20 * time.Millisecond; ; limit += limit/4 + rand.N(limit/4) {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			out, err := sync(ctx, way.from, way.to)
			cancel()
			seen := way.look()
			t.Logf("%s after %v: %d files, %v", way.to, limit, seen, err)
			if err == nil {
				break // it came to its end before its time was over
			}
			if ctx.Err() == nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		if out, err := sync(t.Context(), way.from, way.to); err != nil || !strings.Contains(out, "301 unchanged") {
			t.Fatalf("once more: %v\n%s", err, out)
		}
		if seen := way.look(); seen != len(want) {
			t.Fatalf("%d files, want %d", seen, len(want))
		}
	}
}
