package memory

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

// archiveBound is what efs and the server may each take, beside the 64 MiB that
// Argon2id works on in efs.
const archiveBound = 160 << 20

// TestAnArchiveTakesConstantMemory archives more than a gibibyte, in one large
// file and many small ones, and restores it.
func TestAnArchiveTakesConstantMemory(t *testing.T) {
	s := kit.NewShipped(t)
	c := s.Client()
	ctx := t.Context()
	large := int64(1200 << 20)
	if soak {
		large = 10 << 30
	}
	if _, err := c.Put(ctx, "/large", io.LimitReader(zeros{}, large), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	each(8, func(i int) error {
		for k := range 250 {
			b := kit.Pattern(uint64(i*1000+k), 4000)
			if _, err := c.Put(ctx, fmt.Sprintf("/small/%d/%d", i, k), bytes.NewReader(b), client.PutOptions{}); err != nil {
				return err
			}
		}
		return nil
	}, t)
	dir := t.TempDir()
	e := efsTool{t: t, s: s, dir: dir}
	e.write("password", "correct horse\n")
	e.write("efs/remotes.toml", fmt.Sprintf("[remotes.drive]\nurl = %q\nfs = %q\nuser = %q\nkey = %q\ncert = %q\nca = %q\n",
		s.URL, kit.FS, kit.User, filepath.Join(s.Out, "priv.pgp"), filepath.Join(s.Out, "clientCert.crt"), filepath.Join(s.Out, "ca.crt")))
	e.run("making", "--fs", "drive", "-o", "a.aes", "-p", "password")
	e.run("listing", "-t", "a.aes", "-p", "password")
	e.run("restoring", "-x", "a.aes", "-p", "password", "-C", "back")
	e.run("restoring into a file system", "-x", "a.aes", "-p", "password", "--fs", "drive", "--to", "/back")
	if fi, err := os.Stat(filepath.Join(dir, "back/large")); err != nil || fi.Size() != large {
		t.Error("what was restored:", fi, err)
	}
}

// efsTool runs efs and watches its memory and the server's.
type efsTool struct {
	t   *testing.T
	s   *kit.Server
	dir string
}

func (e *efsTool) write(name, text string) {
	e.t.Helper()
	name = filepath.Join(e.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		e.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

func (e *efsTool) run(what string, args ...string) {
	e.t.Helper()
	cmd := exec.Command(kit.Shipped(e.t, "efs"), append([]string{"tar"}, args...)...)
	cmd.Dir, cmd.Env = e.dir, append(os.Environ(), "XDG_CONFIG_HOME="+e.dir)
	var out strings.Builder
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	client, server := watch(e.t, cmd.Process.Pid), watch(e.t, e.s.PID())
	err := cmd.Wait()
	atClient, atServer := client(), server()
	if err != nil {
		e.t.Fatalf("%s: %v\n%s", what, err, out.String())
	}
	e.t.Logf("%s: %d MiB in efs, %d MiB in the server", what, atClient>>20, atServer>>20)
	if atClient > archiveBound+64<<20 || atServer > archiveBound {
		e.t.Errorf("%s: %d MiB in efs, %d MiB in the server; %d MiB are allowed", what, atClient>>20, atServer>>20, archiveBound>>20)
	}
	if atClient == 0 || atServer == 0 {
		e.t.Errorf("%s: nothing was measured", what)
	}
}
