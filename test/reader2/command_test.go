package reader2

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/efs-project/efs/seal"
)

// ran is what a run of the command gave.
type ran struct {
	out, err string
	status   int
}

func command(t testing.TB, in []byte, args ...string) ran {
	t.Helper()
	return script(t, in, append([]string{recoverPy}, args...)...)
}

// script runs Python with args.
func script(t testing.TB, in []byte, args ...string) ran {
	t.Helper()
	cmd := exec.Command(python(t), args...)
	var out, diag bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &diag
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ran{out.String(), diag.String(), cmd.ProcessState.ExitCode()}
}

func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// small seals plain for the passphrase "secret", with costs that Python can pay.
func small(t testing.TB, plain []byte) []byte {
	t.Helper()
	st := passphrase(t, "secret", seal.Argon2Params{Time: 1, MemoryKiB: 64, Threads: 1})
	return sealed(t, seal.Params{Compression: seal.CompressZstd, Stages: stages(st)}, plain)
}

func TestTheCommandTellsHowItEnded(t *testing.T) {
	plain := string(text(3 << 20))
	whole := small(t, []byte(plain))
	file := func(b []byte) string { return write(t, "a.sealed", b) }
	pass := write(t, "password.txt", []byte("secret\r\nonly the first line counts\n"))
	flipped, version := bytes.Clone(whole), bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	version[7] = 2
	for name, c := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"whole":              {[]string{"-p", pass, file(whole)}, 0, ""},
		"from standard in":   {[]string{"-p", pass, "-"}, 0, ""},
		"no such file":       {[]string{"-p", pass, "nowhere"}, 1, "nowhere"},
		"no key named":       {[]string{file(whole)}, 2, "-p FILE"},
		"password not there": {[]string{"-p", "nowhere", file(whole)}, 1, "nowhere"},
		"password empty":     {[]string{"-p", write(t, "p", []byte("\nsecret\n")), file(whole)}, 2, "first line"},
		"public key":         {[]string{"-i", write(t, "k", []byte(newPair(t).pub.String())), file(whole)}, 2, "public key"},
		"mistyped key":       {[]string{"-i", write(t, "k", []byte(strings.Replace(newPair(t).text, "E", "Q", 2))), file(whole)}, 2, "key"},
		"short key":          {[]string{"--key-hex", "00=00", file(whole)}, 2, "--key-hex"},
		"unknown flag":       {[]string{"--what"}, 2, "usage"},
		"not sealed":         {[]string{"-p", pass, pass}, 3, "format"},
		"later version":      {[]string{"-p", pass, file(version)}, 4, "unsupported"},
		"wrong passphrase":   {[]string{"-p", write(t, "p", []byte("Secret")), file(whole)}, 5, "wrong passphrase"},
		"another's key":      {[]string{"-i", write(t, "k", []byte("# of us\n\n"+newPair(t).text+"\n")), file(whole)}, 5, "a passphrase slot"},
		"altered":            {[]string{"-p", pass, file(flipped)}, 6, "tampered"},
		"another content":    {[]string{"-p", pass, "--content", strings.Repeat("00", 16), file(whole)}, 6, "tampered"},
		"cut":                {[]string{"-p", pass, file(whole[:300])}, 6, "tampered"},
		"cut in the header":  {[]string{"-p", pass, file(whole[:30])}, 7, "truncated"},
		"no archive":         {[]string{"-t", "-p", pass, file(whole)}, 3, "no archive"},
	} {
		r := command(t, whole, c.args...)
		if r.status != c.status || !strings.Contains(r.err, c.says) || strings.Contains(r.err, "Traceback") {
			t.Errorf("%s: exit status %d, want %d: %s", name, r.status, c.status, r.err)
		}
		if c.status == 0 && r.out != plain || !strings.HasPrefix(plain, r.out) {
			t.Errorf("%s: %d bytes come out, and not those that were sealed", name, len(r.out))
		}
	}
}

// TestAnOutputHasItsNameOnlyWhenWhole: -o.
func TestAnOutputHasItsNameOnlyWhenWhole(t *testing.T) {
	plain := text(3 << 20)
	whole := small(t, plain)
	pass, out := write(t, "password.txt", []byte("secret")), filepath.Join(t.TempDir(), "out")
	cut := whole[:len(whole)-70_000]
	if r := command(t, cut, "-p", pass, "-o", out, "-"); r.status != 6 || !strings.Contains(r.err, ".part") {
		t.Errorf("exit status %d, %s", r.status, r.err)
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("what was cut has its name: %v", err)
	}
	if b, err := os.ReadFile(out + ".part"); err != nil || len(b) < 1<<20 || !bytes.HasPrefix(plain, b) {
		t.Errorf("%d bytes could be authenticated, %v", len(b), err)
	}
	other := write(t, "other", []byte("of somebody"))
	if err := errors.Join(os.Chmod(other, 0o666), os.Remove(out+".part"), os.Symlink(other, out+".part")); err != nil {
		t.Fatal(err)
	}
	if r := command(t, whole, "-p", pass, "-o", out, "-"); r.status != 0 {
		t.Errorf("exit status %d, %s", r.status, r.err)
	}
	if b, err := os.ReadFile(other); err != nil || string(b) != "of somebody" {
		t.Errorf("written through a link: %d bytes, %v", len(b), err)
	}
	if fi, err := os.Lstat(out); err != nil || fi.Mode() != 0o600 {
		t.Errorf("others can read it: %v %v", fi.Mode(), err)
	}
	if b, err := os.ReadFile(out); err != nil || !bytes.Equal(b, plain) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := os.Stat(out + ".part"); !os.IsNotExist(err) {
		t.Errorf("the .part is left: %v", err)
	}
}

// TestMemoryDoesNotGrowWithTheFile opens 1 MiB and 64 MiB.
func TestMemoryDoesNotGrowWithTheFile(t *testing.T) {
	pass := write(t, "password.txt", []byte("secret"))
	const program = "import re, sys; sys.path.insert(0, '../../contrib'); import recover; status = recover.main(sys.argv[1:]); " +
		"print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1], file=sys.stderr); sys.exit(status)"
	peak := func(n int) int {
		r := script(t, small(t, bytes.Repeat([]byte("0123456789abcdef"), n/16)), "-c", program, "-p", pass, "--info", "-")
		kib, err := strconv.Atoi(strings.TrimSpace(r.err))
		if r.status != 0 || err != nil {
			t.Fatal(r.status, r.err)
		}
		return kib
	}
	if little, much := peak(1<<20), peak(64<<20); much > little+16<<10 {
		t.Errorf("%d KiB for 1 MiB, %d KiB for 64 MiB", little, much)
	}
}

// TestWithoutTheLibraryOfZstd uses the command zstd, and says what to do where
// there is none either.
func TestWithoutTheLibraryOfZstd(t *testing.T) {
	plain := text(3 << 20)
	whole, pass := small(t, plain), write(t, "password.txt", []byte("secret"))
	run := func(before string) ran {
		program := "import os, sys; sys.path.insert(0, '../../contrib'); import recover; recover.libzstd = lambda: None; " +
			before + "; sys.exit(recover.main(sys.argv[1:]))"
		return script(t, whole, "-c", program, "-p", pass, "-")
	}
	if r := run("pass"); r.status != 0 || r.out != string(plain) {
		t.Errorf("exit status %d, %d bytes, %s", r.status, len(r.out), r.err)
	}
	if r := run("os.environ['PATH'] = '/nowhere'"); r.status != 1 || !strings.Contains(r.err, "apt-get install zstd") || r.out != "" {
		t.Errorf("exit status %d, %d bytes, %s", r.status, len(r.out), r.err)
	}
}

// TestVectorsWithTheCommand: --vector compares, and sees a difference.
func TestVectorsWithTheCommand(t *testing.T) {
	const dir = "../../seal/testdata/vectors/"
	for _, name := range []string{"hpke", "two-zstd-padme", "bad-swapped"} {
		if r := command(t, nil, "--vector", dir+name+".json"); r.status != 0 || !strings.HasSuffix(r.out, ": ok\n") {
			t.Errorf("%s: exit status %d, %s%s", name, r.status, r.out, r.err)
		}
	}
	b, err := os.ReadFile(dir + "aes-hello.json")
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Replace(b, []byte(`"plaintext": "68656c6c6f"`), []byte(`"plaintext": "68656c6c70"`), 1)
	if slices.Equal(b, other) {
		t.Fatal("the vector was not changed")
	}
	if r := command(t, nil, "--vector", write(t, "v.json", other)); r.status != 1 {
		t.Errorf("another plaintext than the vector's: exit status %d, %s", r.status, r.out)
	}
}
