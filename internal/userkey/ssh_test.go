package userkey

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/efs-project/efs"
)

func TestSSHKeygenSignatures(t *testing.T) {
	key, other, rsa := sshKey(t, "ed25519", ""), sshKey(t, "ed25519", ""), sshKey(t, "rsa", "")
	p := readPublic(t, key+".pub")
	sign := func(file, namespace string, text []byte, more ...string) string {
		return string(run(t, nil, text, "ssh-keygen", append(more, "-Y", "sign", "-n", namespace, "-f", file)...))
	}
	for name, sig := range map[string]string{
		"plain":       sign(key, "efs", message),
		"sha256":      sign(key, "efs", message, "-O", "hashalg=sha256"),
		"one newline": sign(key, "efs", append(message[:len(message):len(message)], '\n')),
		"CRLF armor":  strings.ReplaceAll(sign(key, "efs", message), "\n", "\r\n"),
	} {
		if err := p.Verify(message, sig); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, sig := range map[string]string{
		"another key":  sign(other, "efs", message),
		"another text": sign(key, "efs", []byte("else")),
	} {
		if err := p.Verify(message, sig); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v, want ErrSignature", name, err)
		}
	}
	for name, sig := range map[string]string{
		"namespace": sign(key, "file", message),
		"rsa":       sign(rsa, "efs", message),
		"two":       sign(key, "efs", message) + sign(key, "efs", message),
		"damaged":   beginSSHSignature + "\nAAAA\n" + endSSHSignature,
	} {
		if err := p.Verify(message, sig); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("%s: %v, want ErrBadInput", name, err)
		}
	}
	listed := string(run(t, nil, nil, "ssh-keygen", "-l", "-f", key+".pub"))
	if !strings.Contains(listed, p.Fingerprint()) {
		t.Errorf("fingerprint %s, ssh-keygen says %s", p.Fingerprint(), listed)
	}
}

func TestSSHKeyFiles(t *testing.T) {
	for _, pass := range []string{"", "correct horse"} {
		file := sshKey(t, "ed25519", pass)
		s, err := LoadSigner(file, func(string) ([]byte, error) { return []byte(pass), nil })
		if err != nil {
			t.Fatal(err)
		}
		sig, err := s.Sign(message)
		if err != nil {
			t.Fatal(err)
		}
		p := readPublic(t, file+".pub")
		if err := p.Verify(message, sig); err != nil {
			t.Error(err)
		}
		if s.Public().Fingerprint() != p.Fingerprint() {
			t.Error("public half differs")
		}
		allowed := write(t, []byte("app1 "+string(p.Marshal())))
		run(t, nil, message, "ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "app1", "-n", "efs", "-s", write(t, []byte(sig)))
		if pass == "" {
			continue
		}
		if _, err := LoadSigner(file, func(string) ([]byte, error) { return []byte("wrong"), nil }); !errors.Is(err, efs.ErrWrongKey) {
			t.Errorf("wrong passphrase: %v", err)
		}
	}
}

func TestAgent(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "efsagent")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := dir + "/s"
	agent := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { agent.Process.Kill(); agent.Wait() }()
	for range 100 {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		exec.Command("sleep", "0.02").Run()
	}
	t.Setenv("SSH_AUTH_SOCK", socket)
	first, second := sshKey(t, "ed25519", ""), sshKey(t, "ed25519", "")

	if _, err := AgentSigner(nil); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("empty agent: %v", err)
	}
	run(t, nil, nil, "ssh-add", "-q", first)
	run(t, nil, nil, "ssh-add", "-q", sshKey(t, "rsa", ""))
	p := readPublic(t, first+".pub")
	for _, which := range []*Public{nil, p} {
		s, err := AgentSigner(which)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := s.Sign(message)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Verify(message, sig); err != nil {
			t.Error(err)
		}
	}
	if _, err := AgentSigner(readPublic(t, second+".pub")); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("key not in the agent: %v", err)
	}
	s, err := AgentSigner(p)
	if err != nil {
		t.Fatal(err)
	}
	run(t, nil, nil, "ssh-add", "-q", second)
	if _, err := AgentSigner(nil); !errors.Is(err, efs.ErrBadInput) {
		t.Errorf("a choice of two: %v", err)
	}
	run(t, nil, nil, "ssh-add", "-q", "-D")
	if _, err := s.Sign(message); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("key taken out of the agent: %v", err)
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	if _, err := AgentSigner(p); !errors.Is(err, efs.ErrNotFound) {
		t.Errorf("no agent: %v", err)
	}
}

func TestRawSignatures(t *testing.T) {
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newRaw(pub)
	if err != nil {
		t.Fatal(err)
	}
	raw := ed25519.Sign(priv, message)
	if err := p.Verify(message, base64.StdEncoding.EncodeToString(raw)+"\n"); err != nil {
		t.Error(err)
	}
	line, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	asSSH, err := ParsePublic(ssh.MarshalAuthorizedKey(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := asSSH.Verify(message, base64.StdEncoding.EncodeToString(raw)); err != nil {
		t.Errorf("raw signature by an SSH key: %v", err)
	}
	raw[0] ^= 1
	if err := p.Verify(message, base64.StdEncoding.EncodeToString(raw)); !errors.Is(err, ErrSignature) {
		t.Errorf("flipped bit: %v", err)
	}
	for _, s := range []string{"", "AAAA", "!!!", strings.Repeat("A", maxSignature+1), base64.StdEncoding.EncodeToString(append(raw, 0)),
		base64.RawStdEncoding.EncodeToString(raw), "-----BEGIN X-----"} {
		if err := p.Verify(message, s); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("%.20q: %v, want ErrBadInput", s, err)
		}
	}
}

// A PEM key made by openssl signs with openssl and with LoadSigner.
func TestOpenSSLKeys(t *testing.T) {
	private := run(t, nil, nil, "openssl", "genpkey", "-algorithm", "ed25519")
	file := write(t, private)
	p, err := ParsePublic(run(t, nil, private, "openssl", "pkey", "-pubout"))
	if err != nil {
		t.Fatal(err)
	}
	sig := run(t, nil, nil, "openssl", "pkeyutl", "-sign", "-inkey", file, "-rawin", "-in", write(t, message))
	if err := p.Verify(message, base64.StdEncoding.EncodeToString(sig)); err != nil {
		t.Error(err)
	}
	s, err := LoadSigner(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.Sign(message)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Verify(message, text); err != nil || s.Public().Fingerprint() != p.Fingerprint() {
		t.Errorf("LoadSigner: %v", err)
	}
}

func TestPrivateKeyFilesRefused(t *testing.T) {
	for name, c := range map[string]struct{ content, says string }{
		"empty":     {"", "empty file"},
		"garbage":   {"hello", "neither"},
		"public":    {"ssh-ed25519 AAAA", "private one is needed"},
		"oversized": {strings.Repeat("x", maxInput+1), "longer than"},
		"encrypted": {"-----BEGIN ENCRYPTED PRIVATE KEY-----", "encrypted PKCS#8"},
		"rsa":       {string(run(t, nil, nil, "openssl", "genpkey", "-algorithm", "rsa")), "not an Ed25519"},
		"pgp":       {"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n-----END PGP PRIVATE KEY BLOCK-----", "OpenPGP key"},
		"openssh":   {"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----", "damaged"},
		"high byte": {"\xc5\xff\xff", "OpenPGP key"},
	} {
		_, err := LoadSigner(write(t, []byte(c.content)), nil)
		if !errors.Is(err, efs.ErrBadInput) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want ErrBadInput that says %q", name, err, c.says)
		}
	}
	if _, err := LoadSigner("/nonexistent", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// degenerate is the PEM form of the neutral element as a public key, under
// which anybody can sign.
func degenerate() string {
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(append([]byte{1}, make([]byte, 31)...)))
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// Every point on the list is one that a signature can be forged under: with
// R the point itself or the neutral element, and S = 0, some message verifies.
func TestSmallOrderPointsAreForgeable(t *testing.T) {
	neutral := append([]byte{1}, make([]byte, 31)...)
	for _, y := range smallOrderY {
		for _, sign := range []byte{0, 0x80} {
			key := append([]byte(nil), y[:]...)
			key[31] |= sign
			if !smallOrder(key) {
				t.Fatalf("%x not recognised", key)
			}
			sig := append(append([]byte(nil), neutral...), make([]byte, 32)...)
			forged := false
			for i := range 64 {
				forged = forged || ed25519.Verify(key, []byte(fmt.Sprint(i)), sig)
			}
			encodes := y != [32]byte{1} && y != smallOrderY[2] || sign == 0
			if canonicalY(y) && encodes && !forged {
				t.Errorf("%x: no message of 64 verifies under it; is it on the list by mistake?", key)
			}
		}
	}
}

func canonicalY(y [32]byte) bool { return y != smallOrderY[3] && y != smallOrderY[4] }
