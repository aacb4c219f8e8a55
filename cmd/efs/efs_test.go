package main

import (
	"crypto/rand"
	"fmt"
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
// Each has a file system of its own, with the user app1, whose files are in
// $WORK/app1, and a remote "drive" for it.
func TestScripts(t *testing.T) {
	server := kit.New(t)
	scripts, err := filepath.Abs("../../scripts")
	if err != nil {
		t.Fatal(err)
	}
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
			dir := filepath.Join(env.WorkDir, "app1")
			if out, err := server.TryCtl("create-user", "app1", "--fs", fs, "--generate", "--out", dir); err != nil {
				return fmt.Errorf("creating a user: %w\n%s", err, out)
			}
			env.Setenv("FS", fs)
			env.Setenv("URL", server.URL)
			path := []string{filepath.Dir(kit.Bin(t, "efs")), scripts, env.Getenv("PATH")}
			env.Setenv("PATH", strings.Join(path, string(os.PathListSeparator)))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, ".config"))
			env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, ".state"))
			env.Setenv("EFS_ROOT", server.Root)
			return writeRemote(env.WorkDir, server.URL, fs)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"random":   randomFile,
			"exitcode": exitCode,
		},
	})
}

// writeRemote is what `efs remote add drive` leaves behind; that command has a
// transcript of its own.
func writeRemote(work, url, fs string) error {
	dir := filepath.Join(work, ".config", "efs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	user := filepath.Join(work, "app1")
	text := fmt.Sprintf("[remotes.drive]\nurl = %q\nfs = %q\nuser = \"app1\"\nkey = %q\ncert = %q\nca = %q\n",
		url, fs, filepath.Join(user, "priv.pgp"), filepath.Join(user, "clientCert.crt"), filepath.Join(user, "ca.crt"))
	return os.WriteFile(filepath.Join(dir, "remotes.toml"), []byte(text), 0o600)
}

// randomFile makes a file of random bytes: random NAME SIZE.
func randomFile(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	b := make([]byte, size)
	_, err = rand.Read(b)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
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
