package starter

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
	"golang.org/x/sys/unix"
)

const childVar = "EFS_TEST_STARTER_CHILD"

// TestMain is, in a child, the main function of a server.
func TestMain(m *testing.M) {
	if os.Getenv(childVar) == "" {
		os.Exit(m.Run())
	}
	if err := child(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

func child() error {
	before := os.Getpid()
	if err := errors.Join(secret.Harden(), ReexecWithoutEnv()); err != nil {
		return err
	}
	found, err := Find("/nonexistent", Source{})
	if err != nil {
		return err
	}
	if found == nil {
		fmt.Println("no key")
		return nil
	}
	environ, err := os.ReadFile("/proc/self/environ")
	if err != nil {
		return err
	}
	pipes := 0
	for fd := 3; fd < 64; fd++ {
		if to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && strings.HasPrefix(to, "pipe:") {
			pipes++
		}
	}
	sum, err := found.Key.Derive(nil, []byte("fingerprint"))
	if err != nil {
		return err
	}
	fmt.Printf("from %s\nfingerprint %x\npid %d\nargs %q\npipes %d\nenv %q\nenviron %q\n",
		found.From, sum, before, os.Args[1:], pipes, os.Environ(), environ)
	return nil
}

func runChild(t *testing.T, env ...string) (out string, code int, pid int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "one", "two words")
	cmd.Env = append([]string{childVar + "=1", "HOME=/home/efs"}, env...)
	var b, e strings.Builder
	cmd.Stdout, cmd.Stderr = &b, &e
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return b.String() + e.String(), cmd.ProcessState.ExitCode(), cmd.ProcessState.Pid()
}

func TestKeyLeavesTheEnvironment(t *testing.T) {
	text := generate(t)
	key, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := key.Derive(nil, []byte("fingerprint"))
	if err != nil {
		t.Fatal(err)
	}
	out, code, pid := runChild(t, EnvName+"="+text, "LAST=1")
	for _, want := range []string{
		"from environment EFS_STARTER_KEY\n", fmt.Sprintf("fingerprint %x\n", sum), fmt.Sprintf("pid %d\n", pid),
		`args ["one" "two words"]`, "HOME=/home/efs", "LAST=1", "pipes 0\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the child does not say %q", want)
		}
	}
	raw, _ := base64.StdEncoding.DecodeString(text)
	for _, secret := range []string{text, EnvName + "=", string(raw)} {
		if strings.Contains(out, secret) {
			t.Error("the child still shows the key")
		}
	}
	if code != 0 || t.Failed() {
		t.Logf("exit %d:\n%s", code, strings.ReplaceAll(out, text, "KEY"))
	}
}

func TestEnvironmentWithoutKey(t *testing.T) {
	for _, env := range []string{"A=b", EnvName + "="} {
		if out, code, _ := runChild(t, env); code != 0 || out != "no key\n" {
			t.Errorf("%s: exit %d, %q", env, code, out)
		}
	}
}

func TestBadEnvironment(t *testing.T) {
	for _, env := range []string{EnvName + "=secretgarbage", inheritedName + "=secretgarbage", inheritedName + "=0", inheritedName + "=99"} {
		out, code, _ := runChild(t, env)
		name, _, _ := strings.Cut(env, "=")
		if code != 3 || !strings.Contains(out, name) || strings.Contains(out, "secretgarbage") {
			t.Errorf("%s: exit %d, %q", name, code, out)
		}
	}
}

// With real system calls: a key in the process keyring is found, and one that
// is unusable is not passed over.
func TestLinuxKeyring(t *testing.T) {
	text, name := generate(t), "efs-test-"+efs.NewID().String()
	add := func(payload string) (id int) {
		id, err := unix.AddKey("user", name, []byte(payload), unix.KEY_SPEC_SESSION_KEYRING)
		if err != nil {
			t.Logf("this machine offers no keyring: %v", err)
		}
		return id
	}
	id := add(text + "\n")
	if id <= 0 {
		if found, err := Find(t.TempDir(), Source{Keyring: name}); found != nil || err != nil {
			t.Errorf("without a keyring: %+v, %v", found, err)
		}
		return
	}
	t.Cleanup(func() { _, _ = unix.KeyctlInt(unix.KEYCTL_INVALIDATE, id, 0, 0, 0) })
	found, err := Find(t.TempDir(), Source{Keyring: name})
	if err != nil || found == nil {
		t.Fatalf("%+v, %v", found, err)
	}
	sameKey(t, text, found.Key)
	add("garbage")
	_, err = Find(t.TempDir(), Source{Keyring: name})
	wantError(t, "garbage in the keyring", err, efs.ErrBadInput)
	if _, err := unix.KeyctlInt(unix.KEYCTL_REVOKE, id, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	_, err = Find(t.TempDir(), Source{Keyring: name})
	wantError(t, "a revoked key", err, efs.ErrRefused)
}

func TestKeyFromPipe(t *testing.T) {
	text, path := generate(t), filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o644); err != nil {
		t.Fatal(err)
	}
	go func() { _ = os.WriteFile(path, []byte(text), 0) }()
	found, err := Find(t.TempDir(), Source{File: path})
	if err != nil {
		t.Fatal(err)
	}
	sameKey(t, text, found.Key)
}
