package client

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/efs-project/efs/internal/atomicfile"
)

// CertificateUser returns the file system and the user that a client
// certificate is made out to, in a SAN of the form efs://FS/USER; "@server" for
// an administrator of the server.
func CertificateUser(leaf *x509.Certificate) (fs, user string, ok bool) {
	for _, u := range leaf.URIs {
		user := strings.TrimPrefix(u.Path, "/")
		if u.Scheme == "efs" && u.Host != "" && user != "" && !strings.Contains(user, "/") {
			if u.User != nil { // the @ of efs://@server/USER
				return "@" + u.Host, user, true
			}
			return u.Host, user, true
		}
	}
	return "", "", false
}

// LoadCertificate reads a PEM file with a client certificate, its key and its
// chain.
func LoadCertificate(file string) (*tls.Certificate, error) {
	bundle, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the client certificate: %w", err)
	}
	cert, err := tls.X509KeyPair(bundle, bundle)
	if err != nil {
		return nil, fmt.Errorf("reading the client certificate: %s must hold a certificate and its key (PEM), as efsctl create-user writes it: %w", file, err)
	}
	return &cert, nil
}

func (cfg *Config) loadCertificate() (*tls.Certificate, error) {
	if cfg.Certificate == nil {
		if cfg.CertFile == "" {
			return nil, errors.New("no client certificate: set Config.CertFile or Config.Certificate")
		}
		return LoadCertificate(cfg.CertFile)
	}
	cert := *cfg.Certificate
	if cert.Leaf == nil {
		if len(cert.Certificate) == 0 {
			return nil, errors.New("Config.Certificate holds no certificate")
		}
		leaf, err := x509.ParseCertificate(cert.Certificate[0])
		if err != nil {
			return nil, fmt.Errorf("reading Config.Certificate: %w", err)
		}
		cert.Leaf = leaf
	}
	return &cert, nil
}

// fingerprint is the SHA-256 of a certificate's DER, in hex, as the handshake
// names it.
func fingerprint(leaf *x509.Certificate) string {
	return fmt.Sprintf("%x", sha256.Sum256(leaf.Raw))
}

// renewalDue reports whether two thirds of a certificate's life are over.
func renewalDue(leaf *x509.Certificate, now time.Time) bool {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return now.After(leaf.NotBefore.Add(life * 2 / 3))
}

// refreshCertificate takes up a certificate that somebody else put into
// CertFile, or asks the server for a new one, where that is due. The session
// in hand belongs to the old certificate: the caller shakes hands again when
// true is returned. Called with c.auth held.
func (c *Client) refreshCertificate(ctx context.Context, s *session) (changed bool, err error) {
	if !renewalDue(s.cert.Leaf, c.now()) {
		return false, nil
	}
	if c.reloadCertificate(s.cert) {
		return true, nil
	}
	if c.cfg.KeepCertificate || c.cfg.SaveCertificate == nil && c.cfg.CertFile == "" {
		return false, nil
	}
	bundle, err := c.requestCertificate(ctx, s)
	if err != nil {
		return false, fmt.Errorf("renewing the client certificate, valid until %s: %w", s.cert.Leaf.NotAfter.Format(time.DateOnly), err)
	}
	cert, err := tls.X509KeyPair(bundle, bundle)
	if err != nil {
		return false, fmt.Errorf("renewing the client certificate: the server's answer does not fit the new key: %w", err)
	}
	save := c.cfg.SaveCertificate
	if save == nil {
		save = c.replaceCertFile
	}
	if err := save(bundle); err != nil {
		return false, fmt.Errorf("saving the renewed client certificate: %w", err)
	}
	c.useCertificate(&cert)
	return true, nil
}

// reloadCertificate takes up CertFile if it now holds a certificate that lasts
// longer: another process may share the file and have renewed it.
func (c *Client) reloadCertificate(old *tls.Certificate) bool {
	if c.cfg.CertFile == "" {
		return false
	}
	cert, err := LoadCertificate(c.cfg.CertFile)
	if err != nil || !cert.Leaf.NotAfter.After(old.Leaf.NotAfter) {
		return false // the one in hand still serves
	}
	c.useCertificate(cert)
	return true
}

// requestCertificate makes a key pair and returns the server's certificate for
// it as a bundle: certificate, key, chain.
func (c *Client) requestCertificate(ctx context.Context, s *session) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	body := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})
	req, err := c.newRequest(ctx, http.MethodPost, "/auth/certificate", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/pkcs10")
	s.authorize(req)
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, newError("POST /auth/certificate", resp)
	}
	defer drain(resp.Body)
	chain, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	return bundle(chain, keyDER)
}

// bundle puts the key after the first certificate of a PEM chain.
func bundle(chain, keyDER []byte) ([]byte, error) {
	var out bytes.Buffer
	for n := 0; ; n++ {
		block, rest := pem.Decode(chain)
		if block == nil {
			break
		}
		chain = rest
		if block.Type != "CERTIFICATE" {
			continue
		}
		out.Write(pem.EncodeToMemory(block))
		if n == 0 {
			out.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
		}
	}
	if out.Len() == 0 {
		return nil, errors.New("the server answered without a certificate")
	}
	return out.Bytes(), nil
}

// replaceCertFile writes a renewed bundle in CertFile's place, atomically, so
// that no moment leaves a certificate without its key.
func (c *Client) replaceCertFile(bundle []byte) error {
	path := c.cfg.CertFile
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a file kept elsewhere stays there
	}
	return atomicfile.Write(path, bundle, 0o600)
}
