package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/efs-project/efs/test/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// TestScripts runs the transcripts in testdata against a real server process.
// Each has a file system of its own and a remote "drive" for it.
func TestScripts(t *testing.T) {
	server := kit.New(t)
	var made atomic.Int32
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			fs := fmt.Sprintf("fs-%d", made.Add(1))
			if out, err := server.TryCtl("create-fs", fs); err != nil {
				return fmt.Errorf("creating %s: %w\n%s", fs, err, out)
			}
			user := filepath.Join(env.WorkDir, "app1")
			if out, err := server.TryCtl("create-user", "app1", "--fs", fs, "--generate", "--out", user); err != nil {
				return fmt.Errorf("creating a user: %w\n%s", err, out)
			}
			env.Setenv("PATH", filepath.Dir(kit.Bin(t, "efs-bench"))+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, ".config"))
			dir := filepath.Join(env.WorkDir, ".config", "efs")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
			text := fmt.Sprintf("[remotes.drive]\nurl = %q\nfs = %q\nuser = \"app1\"\nkey = %q\ncert = %q\nca = %q\n", server.URL, fs,
				filepath.Join(user, "priv.pgp"), filepath.Join(user, "clientCert.crt"), filepath.Join(user, "ca.crt"))
			return os.WriteFile(filepath.Join(dir, "remotes.toml"), []byte(text), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exitcode": exitCode, "interrupt": interrupt},
	})
}

// exitCode runs a command that must end with a certain status: exitcode N COMMAND…
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		_, err := fmt.Sscanf(err.Error(), "exit status %d", &got)
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%s ended with %d, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// interrupt waits until the background commands have begun to store below
// drive:/, and interrupts them.
func interrupt(ts *testscript.TestScript, _ bool, _ []string) {
	for {
		if err := ts.Exec("efs", "ls", "drive:/"); err != nil {
			ts.Fatalf("efs ls: %v", err)
		}
		if strings.Contains(ts.ReadFile("stdout"), "efs-bench-") {
			break
		}
	}
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(os.Interrupt))
	}
}

// TestBody: the endless file is the same however it is read.
func TestBody(t *testing.T) {
	b := newBody()
	whole := make([]byte, 3*len(b.block))
	if _, err := io.ReadFull(io.NewSectionReader(b, 7, 1<<40), whole); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int{0, 1, len(b.block) - 8, len(b.block) - 7, 2*len(b.block) + 5} {
		part := make([]byte, 1000)
		if _, err := b.ReadAt(part, int64(off)+7); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(part, whole[off:off+len(part)]) {
			t.Errorf("read at %d, it holds other bytes", off)
		}
	}
}
