package main

import (
	"fmt"
	"os"
	"os/exec"
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
// Each has a file system of its own with the user app1, whose files are in
// $WORK/app1; `efsc N FILE FLAGS…` feeds FILE to efsc as that user and expects
// the status N. $TMPFS is a directory on a tmpfs.
// [namespaces] holds where containers can be made.
func TestScripts(t *testing.T) {
	server := kit.New(t)
	tmpfs, err := os.MkdirTemp("/dev/shm", "efsc-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(tmpfs); err != nil {
			t.Error(err)
		}
	})
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
			out, err := server.TryCtl("create-user", "app1", "--fs", fs, "--generate", "--out", filepath.Join(env.WorkDir, "app1"))
			if err != nil {
				return fmt.Errorf("creating a user: %w\n%s", err, out)
			}
			cache := filepath.Join(tmpfs, fs)
			if err := os.Mkdir(cache, 0o700); err != nil {
				return err
			}
			env.Setenv("TMPFS", cache)
			env.Setenv("FS", fs)
			env.Setenv("HOST", strings.TrimPrefix(server.URL, "https://"))
			env.Setenv("EFS_ROOT", server.Root)
			env.Setenv("PATH", filepath.Dir(kit.Bin(t, "efsc"))+string(os.PathListSeparator)+env.Getenv("PATH"))
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond != "namespaces" {
				return false, fmt.Errorf("no such condition: %s", cond)
			}
			return exec.Command("unshare", "--mount", "--pid", "--fork", "--mount-proc", "true").Run() == nil, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"efsc": feed},
	})
}

func feed(ts *testscript.TestScript, _ bool, args []string) {
	script := `in=$1; shift; exec efsc -h "$HOST" -u app1/priv.pgp -c app1/clientCert.crt --ca app1/ca.crt "$@" <"$in"`
	err := ts.Exec("sh", append([]string{"-c", script, "sh"}, args[1:]...)...)
	got := 0
	if err != nil {
		_, err := fmt.Sscanf(err.Error(), "exit status %d", &got)
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("efsc ended with %d, want %s", got, args[0])
	}
}
