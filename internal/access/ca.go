package access

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/pki"
)

const (
	caUsersOld   = "users-old" // kindCA → oldCAs
	oldCAVersion = 1
)

// authorities are the one that issues client certificates, and those that did:
// what they issued is good until it ends.
type authorities struct {
	ca  *pki.CA
	old []oldCA
}

// oldCA is an authority that was replaced. Its key is gone.
type oldCA struct {
	Cert  []byte    `cbor:"1,keyasint"` // PEM
	Until time.Time `cbor:"2,keyasint"` // when the last certificate of it has ended
}

type oldCAs struct {
	Format int     `cbor:"1,keyasint"`
	CAs    []oldCA `cbor:"2,keyasint"` // newest first
}

func (d *Directory) authority() *pki.CA { return d.cas.Load().ca }

// signed reports whether an authority of this file system, present or past,
// signed cert.
func (d *Directory) signed(cert *x509.Certificate) bool {
	all := d.cas.Load()
	if all.ca.Signed(cert) {
		return true
	}
	for _, o := range all.old {
		if old, err := pki.ParseCertificate(o.Cert); err == nil && cert.CheckSignatureFrom(old) == nil {
			return true
		}
	}
	return false
}

// caPEM is what client certificates are signed by: the present authority, and
// those before it whose certificates have not all ended.
func (d *Directory) caPEM() []byte {
	all := d.cas.Load()
	out := all.ca.PEM()
	for _, o := range all.old {
		if d.now().Before(o.Until) {
			out = append(out, o.Cert...)
		}
	}
	return out
}

// openCA reads the authority and those before it.
func openCA(ctx context.Context, fs string, store Store) (*authorities, error) {
	ca, _, err := readCA(ctx, fs, store)
	if err != nil {
		return nil, err
	}
	old, _, err := readOldCAs(ctx, fs, store)
	return &authorities{ca, old.CAs}, err
}

func readCA(ctx context.Context, fs string, store Store) (*pki.CA, uint64, error) {
	value, version, err := store.AccessGet(ctx, kindCA, caUsers)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the certificate authority of %s: %w", fs, err)
	}
	defer clear(value)
	var rec caRecord
	if err := detcbor.Unmarshal(value, &rec); err != nil || rec.Format != recordVersion {
		return nil, 0, fmt.Errorf("certificate authority of %s cannot be read: %w", fs, unreadable(value, recordVersion))
	}
	defer clear(rec.Key)
	ca, err := pki.LoadCA(rec.Cert, rec.Key)
	if err != nil {
		return nil, 0, fmt.Errorf("certificate authority of %s cannot be read: %w", fs, efs.ErrDamaged)
	}
	return ca, version, nil
}

func readOldCAs(ctx context.Context, fs string, store Store) (old oldCAs, version uint64, err error) {
	value, version, err := store.AccessGet(ctx, kindCA, caUsersOld)
	if errors.Is(err, efs.ErrNotFound) {
		return oldCAs{Format: oldCAVersion}, 0, nil
	}
	if err != nil {
		return old, 0, fmt.Errorf("reading the former certificate authorities of %s: %w", fs, err)
	}
	if err := detcbor.Unmarshal(value, &old); err != nil || old.Format != oldCAVersion {
		return old, 0, fmt.Errorf("the former certificate authorities of %s cannot be read: %w", fs, unreadable(value, oldCAVersion))
	}
	return old, version, nil
}

// RotateCA makes another authority issue client certificates from now on. What
// the one before issued stays good until it ends, for which time ca.crt holds
// both; its key is gone. Durable on return. efs.ErrConflict.
func (d *Directory) RotateCA(ctx context.Context) (*x509.Certificate, error) {
	d.write.Lock()
	defer d.write.Unlock()
	next, err := d.rotateCA(ctx)
	if err != nil {
		return nil, fmt.Errorf("rotating the certificate authority of %s: %w", d.fs, err)
	}
	d.mu.RLock()
	dir, logger := d.exports, d.logger
	d.mu.RUnlock()
	if dir != "" {
		if err := d.exportCA(dir); err != nil {
			logger.Warn("ca.crt could not be exported", "fs", d.fs, "err", err)
		}
	}
	return next.Certificate(), nil
}

func (d *Directory) rotateCA(ctx context.Context) (*pki.CA, error) {
	was, version, err := readCA(ctx, d.fs, d.store)
	if err != nil {
		return nil, err
	}
	old, oldVersion, err := readOldCAs(ctx, d.fs, d.store)
	if err != nil {
		return nil, err
	}
	kept := []oldCA{{was.PEM(), d.now().Add(pki.ClientTTL).UTC()}}
	for _, o := range old.CAs {
		if d.now().Before(o.Until) {
			kept = append(kept, o)
		}
	}
	old.CAs = kept
	cert, key, err := pki.NewClientCA(d.fs)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	next, err := pki.LoadCA(cert, key)
	if err != nil {
		return nil, err
	}
	value, err := detcbor.MarshalSecret(caRecord{Format: recordVersion, Cert: cert, Key: key, Created: d.now().UTC()})
	if err != nil {
		return nil, err
	}
	defer clear(value)
	oldValue, err := detcbor.Marshal(old)
	if err != nil {
		return nil, err
	}
	err = d.store.AccessCommit(ctx, []efs.AccessMutation{
		{Kind: kindCA, Name: caUsers, Value: value, Version: version},
		{Kind: kindCA, Name: caUsersOld, Value: oldValue, Version: oldVersion},
	})
	if err != nil {
		return nil, err
	}
	d.cas.Store(&authorities{next, old.CAs})
	return next, nil
}

func (d *Directory) exportCA(systemDir string) error {
	root, err := os.OpenRoot(systemDir)
	if err != nil {
		return err
	}
	defer root.Close()
	return writeExport(root, caFile, d.caPEM())
}
