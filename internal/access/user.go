package access

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/userkey"
)

// The kinds of access records.
const (
	kindUser = "user" // name of the user → User
	kindCA   = "ca"   // caUsers → caRecord
)

// caUsers is the name of the authority that issues client certificates.
const caUsers = "users"

// recordVersion is the format of access records. Newer ones are refused.
const recordVersion = 1

// explicitVersion is the format of the record of a user whose rights are
// grants. Releases that know nothing of grants refuse it, rather than let the
// user at everything.
const explicitVersion = 2

// User is what a file system keeps of a user.
type User struct {
	Format       int           `cbor:"1,keyasint" json:"-"`
	Name         string        `cbor:"2,keyasint" json:"name"`
	Created      time.Time     `cbor:"3,keyasint" json:"created"`
	Keys         []Key         `cbor:"4,keyasint" json:"keys"`
	Certificates []Certificate `cbor:"5,keyasint" json:"certificates"`
	Revoked      *time.Time    `cbor:"6,keyasint,omitempty" json:"revoked,omitempty"`  // since when the user gets in no more
	TLS          []byte        `cbor:"7,keyasint" json:"-"`                            // the newest certificate, DER
	Explicit     bool          `cbor:"8,keyasint,omitempty" json:"explicit,omitempty"` // has what was granted; else everything in the file system
}

// Key is a public key that a user signs with.
type Key struct {
	Fingerprint string       `cbor:"1,keyasint" json:"fingerprint"` // userkey.Public.Fingerprint
	Kind        userkey.Kind `cbor:"2,keyasint" json:"kind"`
	Text        []byte       `cbor:"3,keyasint" json:"-"` // as it was given
	Added       time.Time    `cbor:"4,keyasint" json:"added"`
}

// Certificate is a client certificate issued to a user.
type Certificate struct {
	SHA256   Digest     `cbor:"1,keyasint" json:"sha256"`
	Serial   string     `cbor:"2,keyasint" json:"serial"` // hex
	Issued   time.Time  `cbor:"3,keyasint" json:"issued"`
	NotAfter time.Time  `cbor:"4,keyasint" json:"not_after"`
	Revoked  *time.Time `cbor:"5,keyasint,omitempty" json:"revoked,omitempty"`
}

// Digest is the SHA-256 of a certificate's DER form. Its text form is that of
// pki.Fingerprint.
type Digest [sha256.Size]byte

// String returns 64 lower-case hex digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText returns the text form.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the text form; efs.ErrBadInput.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("SHA-256 of %d characters: %w", len(text), efs.ErrBadInput)
	}
	if _, err := hex.Decode(d[:], text); err != nil {
		return fmt.Errorf("SHA-256 that is not hex: %w", efs.ErrBadInput)
	}
	return nil
}

// caRecord is a certificate authority.
type caRecord struct {
	Format  int       `cbor:"1,keyasint"`
	Cert    []byte    `cbor:"2,keyasint"` // PEM
	Key     []byte    `cbor:"3,keyasint"` // PEM
	Created time.Time `cbor:"4,keyasint"`
}

func encodeUser(u *User) ([]byte, error) {
	if u.Explicit {
		u.Format = explicitVersion
	}
	b, err := detcbor.Marshal(u)
	if err != nil {
		return nil, fmt.Errorf("encoding user %s: %w", u.Name, err)
	}
	return b, nil
}

// decodeUser reads a user's record. Records are sealed, so one that cannot be
// read is damage (efs.ErrDamaged) or of a newer release.
func decodeUser(name string, b []byte) (*User, error) {
	u := new(User)
	if err := detcbor.Unmarshal(b, u); err != nil || u.Format < recordVersion || u.Explicit != (u.Format == explicitVersion) || u.Name != name {
		return nil, fmt.Errorf("user %s: record cannot be read: %w", name, unreadable(b, explicitVersion))
	}
	return u, nil
}

// clone returns a copy that shares nothing that is changed in place.
func (u *User) clone() *User {
	c := *u
	c.Keys = slices.Clone(u.Keys)
	c.Certificates = slices.Clone(u.Certificates)
	return &c
}

func newKey(p *userkey.Public, now time.Time) Key {
	return Key{Fingerprint: p.Fingerprint(), Kind: p.Kind(), Text: p.Marshal(), Added: now}
}

// addCertificate notes an issued certificate and forgets those that expired
// long ago.
func (u *User) addCertificate(cert *x509.Certificate, now time.Time) error {
	u.Certificates = slices.DeleteFunc(u.Certificates, func(c Certificate) bool {
		return now.Sub(c.NotAfter) > keepExpired
	})
	if len(u.Certificates) >= MaxCertificates {
		return fmt.Errorf("user %s has %d certificates; wait until some expire: %w", u.Name, MaxCertificates, efs.ErrRefused)
	}
	u.TLS = cert.Raw
	u.Certificates = append(u.Certificates, Certificate{
		SHA256:   sha256.Sum256(cert.Raw),
		Serial:   fmt.Sprintf("%x", cert.SerialNumber),
		Issued:   now,
		NotAfter: cert.NotAfter.UTC(),
	})
	return nil
}
