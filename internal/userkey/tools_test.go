package userkey

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// message is what the tests sign: of the shape that is signed in earnest.
var message = []byte("efs-auth-v1\ninstance: 9b2f0c7e-52a1-4a7e-9d0e-0f4b8c1a2d3e\nfs: user-data\nuser: app1\nnonce: abc")

// run runs a real tool with input and returns what it prints.
func run(t *testing.T, env []string, input []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = bytes.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errs.String())
	}
	return out.Bytes()
}

// gpg is a GnuPG home of its own. Its path is short: the agent's socket lies
// in it.
type gpg struct {
	t   *testing.T
	env []string
}

func newGPG(t *testing.T) *gpg {
	t.Helper()
	home, err := os.MkdirTemp("/tmp", "efsgpg")
	if err != nil {
		t.Fatal(err)
	}
	g := &gpg{t, []string{"GNUPGHOME=" + home, "LC_ALL=C"}}
	t.Cleanup(func() {
		exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		os.RemoveAll(home)
	})
	return g
}

func (g *gpg) run(input []byte, args ...string) []byte {
	g.t.Helper()
	base := []string{"--batch", "--yes", "--no-tty", "--quiet", "--pinentry-mode", "loopback"}
	return run(g.t, g.env, input, "gpg", append(base, args...)...)
}

// generate makes a primary key; algo "ed25519" is the usual.
func (g *gpg) generate(name, algo, pass string) {
	g.t.Helper()
	g.run(nil, "--passphrase", pass, "--quick-generate-key", name, algo, "sign", "never")
}

func (g *gpg) fingerprint(name string) string {
	g.t.Helper()
	for line := range strings.Lines(string(g.run(nil, "--with-colons", "--list-keys", name))) {
		if f := strings.Split(line, ":"); f[0] == "fpr" {
			return f[9]
		}
	}
	g.t.Fatalf("no key %s", name)
	return ""
}

func (g *gpg) export(name string) []byte {
	g.t.Helper()
	return g.run(nil, "--armor", "--export", name)
}

func (g *gpg) public(name string) *Public {
	g.t.Helper()
	p, err := ParsePublic(g.export(name))
	if err != nil {
		g.t.Fatalf("reading %s: %v", name, err)
	}
	return p
}

// sign signs as a shell script would.
func (g *gpg) sign(name string, text []byte, more ...string) string {
	g.t.Helper()
	args := append(more, "--local-user", name, "--armor", "--detach-sign")
	return string(g.run(text, args...))
}

// sshKey makes an OpenSSH key pair and returns the private key's file.
func sshKey(t *testing.T, kind, pass string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	run(t, nil, nil, "ssh-keygen", "-q", "-t", kind, "-N", pass, "-C", "app1@host", "-f", file)
	return file
}

func readPublic(t *testing.T, file string) *Public {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParsePublic(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func write(t *testing.T, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
