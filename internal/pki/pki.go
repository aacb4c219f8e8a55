// Package pki makes and reads the certificates of EFS: an authority per file
// system for its users' client certificates, and one per root for the server's
// own. Keys are ECDSA P-256, which every TLS stack in use accepts for client
// certificates (Ed25519 is refused by browsers and older Java).
package pki

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/efs-project/efs"
)

// Lifetimes of certificates.
const (
	CATTL     = 10 * 365 * 24 * time.Hour // an authority
	ClientTTL = 90 * 24 * time.Hour       // a client certificate; clients renew at two thirds
	ServerTTL = 397 * 24 * time.Hour      // a server certificate
)

// serverHost is the host in the names of administrators.
var serverHost = strings.TrimPrefix(efs.ServerRealm, "@")

// backdate is how far before now certificates begin, for clocks that lag.
const backdate = 5 * time.Minute

// maxPEM bounds what is parsed, bytes.
const maxPEM = 64 << 10

// Fingerprint returns the SHA-256 of the certificate's DER form, as 64
// lower-case hex digits: how certificates are named everywhere in EFS.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// ClientURI returns the name a client certificate carries: efs://FS/USER. In
// that of an administrator, efs://@server/USER, the @ ends an empty userinfo.
func ClientURI(fs, user string) *url.URL {
	if fs == efs.ServerRealm {
		return &url.URL{Scheme: "efs", User: url.User(""), Host: serverHost, Path: "/" + user}
	}
	return &url.URL{Scheme: "efs", Host: fs, Path: "/" + user}
}

// Identity reads which file system and user a client certificate claims to be
// for. It checks nothing but the claim's form: whether the claim holds is for
// the file system's directory to judge. Errors are efs.ErrBadInput.
func Identity(cert *x509.Certificate) (fs, user string, err error) {
	if len(cert.URIs) == 1 && cert.URIs[0].Scheme == "efs" {
		u := cert.URIs[0]
		name := strings.TrimPrefix(u.Path, "/")
		fs := u.Host
		if u.User != nil {
			fs = efs.ServerRealm
		}
		if efs.ValidRealm(fs) && efs.ValidUserName(name) && u.String() == ClientURI(fs, name).String() {
			return fs, name, nil
		}
	}
	return "", "", fmt.Errorf("certificate names no EFS user (a URI efs://FS/USER): %w", efs.ErrBadInput)
}

// EncodeCertificate returns the PEM form.
func EncodeCertificate(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

// ParseCertificate reads exactly one certificate in PEM form. Errors are
// efs.ErrBadInput.
func ParseCertificate(text []byte) (*x509.Certificate, error) {
	der, err := onePEM(text, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate: %v: %w", err, efs.ErrBadInput)
	}
	return cert, nil
}

// onePEM returns the contents of the one PEM block that text consists of.
func onePEM(text []byte, types ...string) ([]byte, error) {
	if len(text) > maxPEM {
		return nil, fmt.Errorf("PEM text above %d bytes: %w", maxPEM, efs.ErrBadInput)
	}
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("no PEM block (expected -----BEGIN %s-----): %w", types[0], efs.ErrBadInput)
	}
	if len(strings.TrimSpace(string(rest))) > 0 {
		return nil, fmt.Errorf("more than one PEM block: give only the %s: %w", types[0], efs.ErrBadInput)
	}
	for _, t := range types {
		if block.Type == t {
			return block.Bytes, nil
		}
	}
	return nil, fmt.Errorf("PEM block is a %q, not a %q: %w", block.Type, types[0], efs.ErrBadInput)
}
