package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/efs-project/efs"
)

func newCAOf(t testing.TB, certPEM, keyPEM []byte, err error) *CA {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := LoadCA(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func clientCA(t testing.TB, fs string) *CA {
	t.Helper()
	cert, key, err := NewClientCA(fs)
	return newCAOf(t, cert, key, err)
}

func serverCA(t testing.TB) *CA {
	t.Helper()
	cert, key, err := NewServerCA("EFS server authority")
	return newCAOf(t, cert, key, err)
}

func newKey(t testing.TB) (crypto.Signer, []byte) {
	t.Helper()
	key, text, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key, text
}

func openssl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("openssl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func write(t *testing.T, content ...[]byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(file, bytes.Join(content, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestClientCertificate(t *testing.T) {
	ca := clientCA(t, "user-data")
	key, _ := newKey(t)
	text, cert, err := ca.IssueClient("user-data", "app1", key.Public(), ClientTTL)
	if err != nil {
		t.Fatal(err)
	}
	fs, user, err := Identity(cert)
	if err != nil || fs != "user-data" || user != "app1" {
		t.Errorf("identity %s/%s, %v", fs, user, err)
	}
	if cert.Subject.CommonName != "app1" || cert.Subject.OrganizationalUnit[0] != "user-data" {
		t.Errorf("subject %v", cert.Subject)
	}
	if left := time.Until(cert.NotAfter); left > ClientTTL || left < ClientTTL-time.Minute {
		t.Errorf("lives %v", left)
	}
	if bits := cert.SerialNumber.BitLen(); bits != 127 {
		t.Errorf("serial of %d bits", bits)
	}
	if !ca.Signed(cert) || clientCA(t, "user-data").Signed(cert) {
		t.Error("Signed does not tell authorities of the same name apart")
	}
	if again, err := ParseCertificate(text); err != nil || Fingerprint(again) != Fingerprint(cert) {
		t.Errorf("PEM form: %v", err)
	}
	leaf, root := write(t, text), write(t, ca.PEM())
	openssl(t, "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", root, leaf)
	if out, err := exec.Command("openssl", "verify", "-purpose", "sslserver", "-CAfile", root, leaf).CombinedOutput(); err == nil {
		t.Errorf("a client certificate serves as a server's: %s", out)
	}
}

// The authority of one file system cannot vouch for users of another: the
// name constraint stops it even where only the chain is looked at.
func TestNameConstraint(t *testing.T) {
	ca := clientCA(t, "user-data")
	key, _ := newKey(t)
	text, cert, err := ca.IssueClient("other-data", "app1", key.Public(), ClientTTL)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate())
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("Go accepts it")
	}
	if out, err := exec.Command("openssl", "verify", "-CAfile", write(t, ca.PEM()), write(t, text)).CombinedOutput(); err == nil {
		t.Errorf("openssl accepts it: %s", out)
	}
}

func TestServerCertificate(t *testing.T) {
	ca := serverCA(t)
	key, _ := newKey(t)
	text, cert, err := ca.IssueServer([]string{"localhost", "efs.example.org", "127.0.0.1", "::1"}, key.Public(), ServerTTL)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "efs.example.org", "127.0.0.1", "::1"} {
		if err := cert.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	openssl(t, "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "localhost", "-CAfile", write(t, ca.PEM()), write(t, text))
	for _, hosts := range [][]string{nil, {""}, {"a b"}, {"-x.org"}, {"x..org"}, {"a/b"}, {strings.Repeat("a", 64)}, {strings.Repeat("a.", 130) + "a"}} {
		if _, _, err := ca.IssueServer(hosts, key.Public(), ServerTTL); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("%q: %v", hosts, err)
		}
	}
}

// Certificate, key and chain in one text make a TLS client.
func TestBundle(t *testing.T) {
	ca, sca := clientCA(t, "user-data"), serverCA(t)
	key, keyPEM := newKey(t)
	text, _, err := ca.IssueClient("user-data", "app1", key.Public(), ClientTTL)
	if err != nil {
		t.Fatal(err)
	}
	bundle := Bundle(text, keyPEM, ca.PEM())
	client, err := tls.X509KeyPair(bundle, bundle)
	if err != nil {
		t.Fatal(err)
	}
	skey, skeyPEM := newKey(t)
	stext, _, err := sca.IssueServer([]string{"localhost"}, skey.Public(), ServerTTL)
	if err != nil {
		t.Fatal(err)
	}
	server, err := tls.X509KeyPair(stext, skeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	clients, servers := x509.NewCertPool(), x509.NewCertPool()
	clients.AddCert(ca.Certificate())
	servers.AddCert(sca.Certificate())
	a, b := net.Pipe()
	defer a.Close()
	go tls.Client(a, &tls.Config{RootCAs: servers, ServerName: "localhost", Certificates: []tls.Certificate{client}}).Handshake()
	conn := tls.Server(b, &tls.Config{ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert, Certificates: []tls.Certificate{server}})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, user, err := Identity(conn.ConnectionState().PeerCertificates[0]); err != nil || user != "app1" {
		t.Errorf("%s, %v", user, err)
	}
}

func TestIdentityRefuses(t *testing.T) {
	for _, uri := range []string{"https://user-data/app1", "efs://user-data/", "efs://user-data", "efs:///app1", "efs://user-data/a/b",
		"efs://user-data/app1?x", "efs://user-data/app1#x", "efs://x@user-data/app1", "efs://user-data:1/app1", "efs://User-Data/app1", "efs://user-data//app1", "efs:app1"} {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		cert := &x509.Certificate{URIs: []*url.URL{u}}
		if fs, user, err := Identity(cert); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("%s: %s/%s, %v", uri, fs, user, err)
		}
	}
	two := &x509.Certificate{URIs: []*url.URL{ClientURI("user-data", "app1"), ClientURI("user-data", "app2")}}
	if _, _, err := Identity(two); !errors.Is(err, efs.ErrBadInput) {
		t.Errorf("two names: %v", err)
	}
}

func TestCSR(t *testing.T) {
	csr := []byte(opensslCSR(t, "ec:P-256"))
	if _, err := ParseCSR(csr); err != nil {
		t.Error(err)
	}
	for _, algo := range []string{"rsa:2048", "ed25519", "ec:P-384"} {
		if _, err := ParseCSR([]byte(opensslCSR(t, algo))); err != nil {
			t.Errorf("%s: %v", algo, err)
		}
	}
	block, _ := pem.Decode(csr)
	flipped := bytes.Clone(block.Bytes)
	flipped[len(flipped)-1] ^= 1
	for name, text := range map[string][]byte{
		"empty":         nil,
		"garbage":       []byte("garbage"),
		"two":           append(bytes.Clone(csr), csr...),
		"key":           []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
		"bad signature": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: flipped}),
		"cut":           pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: block.Bytes[:40]}),
		"weak RSA":      []byte(opensslCSR(t, "rsa:1024")),
		"oversized":     bytes.Repeat([]byte("x"), maxPEM+1),
	} {
		if _, err := ParseCSR(text); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("%s: %v, want ErrBadInput", name, err)
		}
	}
}

func opensslCSR(t *testing.T, algo string) string {
	t.Helper()
	args := []string{"req", "-new", "-nodes", "-subj", "/CN=x", "-keyout", filepath.Join(t.TempDir(), "k"), "-newkey"}
	if curve, ok := strings.CutPrefix(algo, "ec:"); ok {
		args = append(args, "ec", "-pkeyopt", "ec_paramgen_curve:"+curve)
	} else {
		args = append(args, algo)
	}
	file := filepath.Join(t.TempDir(), "csr")
	openssl(t, append(args, "-out", file)...)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCheckKey(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := new(big.Int).Lsh(big.NewInt(1), 2047)
	for name, key := range map[string]crypto.PublicKey{
		"P-224":          &p224.PublicKey,
		"RSA 1024":       &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537},
		"RSA 16384":      &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 16383), E: 65537},
		"RSA exponent 3": &rsa.PublicKey{N: n, E: 3},
		"nothing":        nil,
	} {
		if err := CheckKey(key); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.PublicKey{pub, &rsa.PublicKey{N: n, E: 65537}} {
		if err := CheckKey(key); err != nil {
			t.Error(err)
		}
	}
}

func TestLoadCARefuses(t *testing.T) {
	certPEM, keyPEM, err := NewClientCA("user-data")
	if err != nil {
		t.Fatal(err)
	}
	ca := newCAOf(t, certPEM, keyPEM, nil)
	_, otherKey := newKey(t)
	key, leafKey := newKey(t)
	leaf, _, err := ca.IssueClient("user-data", "app1", key.Public(), ClientTTL)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string][2][]byte{
		"another key":  {certPEM, otherKey},
		"no authority": {leaf, leafKey},
		"no key":       {certPEM, nil},
		"no cert":      {nil, keyPEM},
		"swapped":      {keyPEM, certPEM},
	} {
		if _, err := LoadCA(c[0], c[1]); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := NewClientCA("Not A Name"); !errors.Is(err, efs.ErrBadInput) {
		t.Errorf("name: %v", err)
	}
}

// No certificate outlives its authority.
func TestCertificateEndsWithItsAuthority(t *testing.T) {
	ca := clientCA(t, "user-data")
	key, _ := newKey(t)
	_, cert, err := ca.IssueClient("user-data", "app1", key.Public(), 2*CATTL)
	if err != nil {
		t.Fatal(err)
	}
	if cert.NotAfter.After(ca.Certificate().NotAfter) {
		t.Errorf("until %v, the authority until %v", cert.NotAfter, ca.Certificate().NotAfter)
	}
}

func FuzzCSR(f *testing.F) {
	key, _ := newKey(f)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ParseCSR(b); err != nil && !errors.Is(err, efs.ErrBadInput) {
			t.Fatal(err)
		}
	})
}
