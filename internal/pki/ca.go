package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/efs-project/efs"
)

// CA is an authority ready to issue. Its methods are safe for concurrent use.
type CA struct {
	cert *x509.Certificate
	key  crypto.Signer
	pem  []byte
}

// NewClientCA makes the authority for the client certificates of one file
// system. It can vouch for names efs://FS/… and for TLS clients, nothing else:
// the name constraint and the key usage say so in the certificate itself.
func NewClientCA(fs string) (certPEM, keyPEM []byte, err error) {
	if !efs.ValidRealm(fs) {
		return nil, nil, fmt.Errorf("certificate authority for %q: %w", fs, efs.ErrBadInput)
	}
	return newCA(&x509.Certificate{
		Subject:                     pkix.Name{CommonName: "EFS users of " + fs, OrganizationalUnit: []string{fs}},
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		PermittedDNSDomainsCritical: true,
		PermittedURIDomains:         []string{strings.TrimPrefix(fs, "@")},
	})
}

// NewServerCA makes the authority for the server's own certificate. It is
// constrained to TLS servers; clients trust it by its file, ca.crt.
func NewServerCA(name string) (certPEM, keyPEM []byte, err error) {
	return newCA(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

func newCA(t *x509.Certificate) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a certificate authority: %w", err)
	}
	now := time.Now()
	t.SerialNumber = newSerial()
	t.NotBefore, t.NotAfter = now.Add(-backdate), now.Add(CATTL)
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("making a certificate authority: %w", err)
	}
	keyPEM, err = encodeKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM, err
}

// LoadCA reads an authority from the PEM forms that NewClientCA and
// NewServerCA return. A key that does not belong to the certificate, or a
// certificate that is no authority, is efs.ErrBadInput.
func LoadCA(certPEM, keyPEM []byte) (*CA, error) {
	cert, err := ParseCertificate(certPEM)
	if err != nil {
		return nil, fmt.Errorf("loading a certificate authority: %w", err)
	}
	der, err := onePEM(keyPEM, "PRIVATE KEY")
	if err != nil {
		return nil, fmt.Errorf("loading a certificate authority's key: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("loading a certificate authority's key: not an ECDSA key: %w", efs.ErrBadInput)
	}
	if !cert.IsCA || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("loading a certificate authority: certificate and key do not belong together: %w", efs.ErrBadInput)
	}
	return &CA{cert: cert, key: key, pem: EncodeCertificate(cert)}, nil
}

// Certificate returns the authority's own certificate.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// PEM returns the authority's own certificate in PEM form.
func (ca *CA) PEM() []byte { return bytes.Clone(ca.pem) }

// Signed reports whether cert was signed by this authority, whatever its dates
// and whoever it is for.
func (ca *CA) Signed(cert *x509.Certificate) bool {
	return bytes.Equal(cert.RawIssuer, ca.cert.RawSubject) && cert.CheckSignatureFrom(ca.cert) == nil
}

// IssueClient makes a client certificate for a user's TLS key: subject CN=user,
// OU=fs, and the name efs://FS/USER. Weak keys are efs.ErrBadInput (CheckKey).
func (ca *CA) IssueClient(fs, user string, pub crypto.PublicKey, ttl time.Duration) ([]byte, *x509.Certificate, error) {
	if !efs.ValidRealm(fs) || !efs.ValidUserName(user) {
		return nil, nil, fmt.Errorf("client certificate for %q in %q: %w", user, fs, efs.ErrBadInput)
	}
	return ca.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: user, OrganizationalUnit: []string{fs}},
		URIs:        []*url.URL{ClientURI(fs, user)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, pub, ttl)
}

// IssueServer makes a server certificate for hosts: DNS names and IP
// addresses, at least one.
func (ca *CA) IssueServer(hosts []string, pub crypto.PublicKey, ttl time.Duration) ([]byte, *x509.Certificate, error) {
	if len(hosts) == 0 {
		return nil, nil, fmt.Errorf("server certificate: no host name given: %w", efs.ErrBadInput)
	}
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "EFS server"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else if validHost(host) {
			t.DNSNames = append(t.DNSNames, host)
		} else {
			return nil, nil, fmt.Errorf("server certificate: %q is neither a host name nor an IP address: %w", host, efs.ErrBadInput)
		}
	}
	return ca.issue(t, pub, ttl)
}

func (ca *CA) issue(t *x509.Certificate, pub crypto.PublicKey, ttl time.Duration) ([]byte, *x509.Certificate, error) {
	if err := CheckKey(pub); err != nil {
		return nil, nil, err
	}
	now := time.Now()
	t.SerialNumber = newSerial()
	t.NotBefore, t.NotAfter = now.Add(-backdate), now.Add(ttl)
	if t.NotAfter.After(ca.cert.NotAfter) {
		t.NotAfter = ca.cert.NotAfter
	}
	t.BasicConstraintsValid = true
	t.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, pub, ca.key)
	if err != nil {
		return nil, nil, fmt.Errorf("issuing a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("issuing a certificate: %w", err)
	}
	return EncodeCertificate(cert), cert, nil
}

// newSerial returns 128 random bits with the top bit cleared and the next set,
// so that the DER form is always 16 bytes and positive (RFC 5280 4.1.2.2).
func newSerial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b)
}
