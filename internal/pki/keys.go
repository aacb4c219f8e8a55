package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/efs-project/efs"
)

// CheckKey refuses (efs.ErrBadInput) public keys that no certificate should be
// issued for: RSA below 2,048 or above 8,192 bits or with a small exponent,
// curves other than P-256, P-384, P-521 and Ed25519, anything else.
func CheckKey(pub crypto.PublicKey) error {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, k.Curve) {
			return nil
		}
		return fmt.Errorf("TLS key: ECDSA keys must be on P-256, P-384 or P-521: %w", efs.ErrBadInput)
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < 2048 || bits > 8192 || k.E < 65537 {
			return fmt.Errorf("TLS key: RSA with %d bits and exponent %d; 2048 to 8192 bits and 65537 are accepted: %w", bits, k.E, efs.ErrBadInput)
		}
		return nil
	}
	return fmt.Errorf("TLS key: neither ECDSA, Ed25519 nor RSA: %w", efs.ErrBadInput)
}

// ParseCSR reads a certificate request in PEM form and returns its public key.
// Nothing else of the request is used: what a certificate says is decided by
// who issues it. The request's own signature must hold, which proves that the
// sender has the private key. Errors are efs.ErrBadInput.
func ParseCSR(csrPEM []byte) (crypto.PublicKey, error) {
	der, err := onePEM(csrPEM, "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %v: %w", err, efs.ErrBadInput)
	}
	if err := CheckKey(csr.PublicKey); err != nil {
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: its signature does not hold: %w", efs.ErrBadInput)
	}
	return csr.PublicKey, nil
}

// NewKey makes a TLS key (ECDSA P-256), with its PKCS#8 PEM form.
func NewKey() (crypto.Signer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a TLS key: %w", err)
	}
	text, err := encodeKey(key)
	return key, text, err
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Bundle joins certificate, key (nil: none) and chain in one PEM text, usable
// as `curl --cert`. The certificate comes first.
func Bundle(certPEM, keyPEM, chainPEM []byte) []byte {
	return slices.Concat(certPEM, keyPEM, chainPEM)
}

// validHost reports whether s can be a DNS name in a certificate.
func validHost(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for i, label := range strings.Split(s, ".") {
		if label == "*" && i == 0 {
			continue
		}
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if c != '-' && c != '_' && !(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') {
				return false
			}
		}
	}
	return true
}
