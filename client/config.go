package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/userkey"
)

// Signer holds a user's key and signs handshakes with it. It is used by one
// goroutine at a time. See LoadKey and AgentKey.
type Signer interface {
	// Sign returns a signature over message in one of the forms that the
	// server accepts: base64 of a raw Ed25519 signature, an armored OpenPGP
	// detached signature, or an SSH signature in the namespace "efs".
	Sign(message []byte) (signature string, err error)
}

// LoadKey reads a user's private key from a file: OpenPGP (armored or
// binary), OpenSSH, or PKCS#8 PEM; Ed25519 in each. passphrase is called once if
// the key is protected, and what it returns is wiped; nil stands for nobody to
// ask.
func LoadKey(file string, passphrase func(prompt string) ([]byte, error)) (Signer, error) {
	return userkey.LoadSigner(file, passphrase)
}

// AgentKey uses a key held by ssh-agent (through SSH_AUTH_SOCK). publicKey is
// the line of its .pub file; nil stands for the one Ed25519 key in the agent.
func AgentKey(publicKey []byte) (Signer, error) {
	if publicKey == nil {
		return userkey.AgentSigner(nil)
	}
	pub, err := userkey.ParsePublic(publicKey)
	if err != nil {
		return nil, fmt.Errorf("reading the public key: %w", err)
	}
	return userkey.AgentSigner(pub)
}

// Config says which server, who, and how. URL, Signer and one of CertFile and
// Certificate are required.
type Config struct {
	URL string // https://HOST[:PORT]

	// FS and User default to what the certificate says (its SAN
	// efs://FS/USER).
	FS, User string

	// Bucket is the file system to work in: FS by default, or another in
	// which the user holds grants.
	Bucket string

	Signer Signer

	// CertFile is a PEM file with the client's certificate, its key and its
	// chain, as efsctl create-user writes it (clientCert.crt).
	CertFile    string
	Certificate *tls.Certificate // instead of CertFile

	// SaveCertificate is handed each renewed bundle (PEM: certificate, key,
	// chain) and makes it durable; the client uses it only after nil. If it
	// is nil, CertFile is replaced; without CertFile nothing is renewed.
	SaveCertificate func(bundle []byte) error
	// KeepCertificate turns renewal off, for those who manage certificates
	// otherwise.
	KeepCertificate bool

	// CAFile (PEM) or RootCAs is what the server's certificate must be signed
	// by; without either, the system's authorities.
	CAFile  string
	RootCAs *x509.CertPool

	// Retries is how often a request that may be repeated is, 4 by default;
	// negative for never.
	Retries int
	// Timeout bounds the wait for an answer's first byte once a request has
	// been sent, 60 s by default. Bodies are bounded by contexts alone.
	Timeout time.Duration
	// HTTP2 asks for HTTP/2 where the server has it.
	HTTP2 bool

	UserAgent string       // "efs-client" by default
	Logger    *slog.Logger // renewals that failed; nil for silence
}

const (
	defaultRetries = 4
	defaultTimeout = 60 * time.Second
)

// resolve checks the configuration and fills in what is not said. base is
// URL without a trailing slash.
func (cfg *Config) resolve() (base *url.URL, cert *tls.Certificate, err error) {
	base, err = ParseURL(cfg.URL)
	if err != nil {
		return nil, nil, err
	}
	if cfg.Signer == nil {
		return nil, nil, errors.New("no key to log in with: set Config.Signer (see LoadKey and AgentKey)")
	}
	if cert, err = cfg.loadCertificate(); err != nil {
		return nil, nil, err
	}
	fs, user, named := CertificateUser(cert.Leaf)
	if named && cfg.FS != "" && cfg.FS != fs || named && cfg.User != "" && cfg.User != user {
		return nil, nil, fmt.Errorf("the client certificate is %s@%s's, not %s@%s's: use the certificate that was made for this user",
			user, fs, orElse(cfg.User, user), orElse(cfg.FS, fs))
	}
	cfg.FS, cfg.User = orElse(cfg.FS, fs), orElse(cfg.User, user)
	if cfg.FS == "" || cfg.User == "" {
		return nil, nil, errors.New("the client certificate names no file system and user: set Config.FS and Config.User")
	}
	if err := cfg.loadRoots(); err != nil {
		return nil, nil, err
	}
	if cfg.Bucket = orElse(cfg.Bucket, cfg.FS); !efs.ValidRealm(cfg.Bucket) {
		return nil, nil, fmt.Errorf("%q names no file system: 2 to 63 lower-case letters, digits and dashes", cfg.Bucket)
	}
	cfg.UserAgent = orElse(cfg.UserAgent, "efs-client")
	if cfg.Retries == 0 {
		cfg.Retries = defaultRetries
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return base, cert, nil
}

// ParseURL reads a server's address: https://HOST[:PORT], or HOST[:PORT] for
// short.
func ParseURL(s string) (*url.URL, error) {
	if s == "" {
		return nil, errors.New("no server given: https://HOST[:PORT]")
	}
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("reading the server's address: %w", err)
	}
	if u.Scheme != "https" {
		return nil, fmt.Errorf("the server's address %q does not begin with https://: EFS is spoken over TLS only", s)
	}
	if u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("the server's address %q is not of the form https://HOST[:PORT]", s)
	}
	return &url.URL{Scheme: "https", Host: u.Host}, nil
}

func (cfg *Config) loadRoots() error {
	if cfg.CAFile == "" || cfg.RootCAs != nil {
		return nil
	}
	pem, err := os.ReadFile(cfg.CAFile)
	if err != nil {
		return fmt.Errorf("reading the server's CA: %w", err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("reading the server's CA: %s holds no certificate (PEM)", cfg.CAFile)
	}
	return nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
