package node

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/pki"
	"github.com/efs-project/efs/internal/starter"
)

// DefaultCAOverlap is how long the server shows a certificate of its former
// authority after a rotation: as long as a client certificate lives, with
// which clients get ca.crt anew.
const DefaultCAOverlap = pki.ClientTTL

const oldServerCA = "server-ca-old"

// formerCA is the server's authority before the present one. Its key is gone;
// what it signed last is shown until Until, and clients are to trust it as
// long as they are told of it.
type formerCA struct {
	Cert  []byte    `json:"cert"`  // PEM
	Until time.Time `json:"until"` // the certificate of the present authority is shown from then on
}

// CARotation tells of a new authority.
type CARotation struct {
	SHA256 string    `json:"sha256"` // of its certificate
	Until  time.Time `json:"until"`  // what the one before signed is good, or shown, until then
}

// RotateCA makes another authority issue the client certificates of a file
// system (or of the server's administrators). Certificates of the one before
// stay good until they end.
func (n *Node) RotateCA(ctx context.Context, fs string) (CARotation, error) {
	users, err := n.Users(fs)
	if err != nil {
		return CARotation{}, err
	}
	cert, err := users.RotateCA(ctx)
	if err != nil {
		return CARotation{}, err
	}
	return CARotation{pki.Fingerprint(cert), n.clock().Add(pki.ClientTTL).UTC()}, nil
}

// RotateServerCA makes another authority for the server's own certificate.
// ca.crt holds both from now on. Until overlap is over the server shows a
// certificate that the old one signed, so that clients which trust only that
// still connect; they need the new ca.crt by then. efs.ErrRefused where the
// server shows a certificate that it was given, or while an earlier rotation is
// not over.
func (n *Node) RotateServerCA(_ context.Context, overlap time.Duration) (CARotation, error) {
	n.admin.Lock()
	defer n.admin.Unlock()
	if err := n.Serving(); err != nil {
		return CARotation{}, err
	}
	if overlap < 0 || overlap > pki.ServerTTL {
		return CARotation{}, fmt.Errorf("%w: the overlap is at most %d days", efs.ErrBadInput, pki.ServerTTL/(24*time.Hour))
	}
	t := n.secrets().tls
	r, err := t.rotate(n.clock().Add(overlap))
	if err != nil && !errors.Is(err, starter.ErrNotErased) {
		return CARotation{}, fmt.Errorf("rotating the server's certificate authority: %w", err)
	}
	for _, p := range t.export() {
		n.log.Warn(p)
	}
	n.log.Info("the server's certificate authority was rotated", "sha256", r.SHA256, "former_until", r.Until)
	return r, err
}

// rotate replaces the authority. A crash before the last step leaves the old
// one in force, and is followed by another try.
func (t *serverTLS) rotate(until time.Time) (CARotation, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cfg.TLSCert != "" {
		return CARotation{}, fmt.Errorf("%w: the server shows a certificate that it was given; exchange that one", efs.ErrRefused)
	}
	if t.former != nil && t.clock().Before(t.former.until) {
		return CARotation{}, fmt.Errorf("%w: the last rotation is not over before %s", efs.ErrRefused, t.former.until.Format(time.RFC3339))
	}
	last, err := t.issue() // by the old one, for the last time: good for longer than any overlap
	if err != nil {
		return CARotation{}, err
	}
	b, err := json.Marshal(formerCA{t.ca.PEM(), until})
	if err != nil {
		return CARotation{}, err
	}
	if err := t.box.Put(oldServerCA, b); err != nil {
		return CARotation{}, err
	}
	former := &formerAuthority{cert: t.ca.Certificate(), until: until}
	ca, err := replaceCA(t.box, "server-ca", newServerCA)
	if ca == nil {
		return CARotation{}, err
	}
	t.former, t.ca = former, ca
	if !t.clock().Before(until) {
		if last, err = t.issue(); err != nil {
			return CARotation{}, err
		}
	}
	t.current.Store(last)
	return CARotation{pki.Fingerprint(ca.Certificate()), until.UTC()}, err
}

// formerAuthority is a formerCA that was read.
type formerAuthority struct {
	cert  *x509.Certificate
	until time.Time
}

// signs reports whether a certificate of the former authority is to be shown.
func (f *formerAuthority) signs(cert *x509.Certificate, now time.Time) bool {
	return f != nil && now.Before(f.until) && cert.CheckSignatureFrom(f.cert) == nil
}

// wrote reports whether a ca.crt is one that this server wrote before a
// rotation, or while it was under way.
func (t *serverTLS) wrote(file []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.former == nil {
		return false
	}
	present, former := t.ca.PEM(), pki.EncodeCertificate(t.former.cert)
	return bytes.Equal(file, present) || bytes.Equal(file, former) || bytes.Equal(file, slices.Concat(present, former))
}

// loadFormer reads the former authority; nil if there is none, or if the
// rotation to another did not come to its end.
func loadFormer(box *starter.Box, present *pki.CA) (*formerAuthority, error) {
	b, err := box.Get(oldServerCA)
	if errors.Is(err, efs.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var f formerCA
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%v: %w", err, efs.ErrDamaged)
	}
	cert, err := pki.ParseCertificate(f.Cert)
	if err != nil || cert.Equal(present.Certificate()) {
		return nil, err
	}
	return &formerAuthority{cert, f.Until}, nil
}

func newServerCA() (cert, key []byte, err error) { return pki.NewServerCA("EFS server authority") }

// replaceCA makes an authority in place of the one in the Box, which is
// overwritten. An error with an authority says that it was not.
func replaceCA(box *starter.Box, name string, create func() (cert, key []byte, err error)) (*pki.CA, error) {
	cert, key, err := create()
	if err != nil {
		return nil, err
	}
	defer clear(key)
	ca, err := pki.LoadCA(cert, key)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(pair{cert, key})
	if err != nil {
		return nil, err
	}
	defer clear(b)
	if err = box.Replace(name, b); err != nil && !errors.Is(err, starter.ErrNotErased) {
		return nil, err
	}
	return ca, err
}
