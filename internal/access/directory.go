// Package access says who may: the users of one file system, their public keys
// and certificates, the authority that issues those, and who holds what grants.
//
// All of it is sealed records in the index, the one truth. The files under
// system/ are exports for people, compared at start and never trusted. A
// Directory holds everything decoded in memory, because it is asked at every
// request and in the same time about users that exist and users that do not.
package access

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/internal/pki"
	"github.com/efs-project/efs/internal/userkey"
)

// Why a client certificate opens nothing.
var (
	ErrCertificateRequired = errors.New("a client certificate is required: use the one that create-user printed")
	ErrCertificateExpired  = errors.New("the client certificate has expired: ask for a new one")
	ErrCertificateUnknown  = errors.New("the client certificate was not issued for a user of this file system")
	ErrCertificateRevoked  = errors.New("the client certificate has been revoked")
)

// Limits of a user.
const (
	MaxKeys         = userkey.MaxKeys
	MaxCertificates = 256 // not counting those that expired keepExpired ago
)

// keepExpired is how long an expired certificate is remembered.
const keepExpired = 30 * 24 * time.Hour

// Store keeps access records, sealed, for one file system. *fsys.FS is the one
// that is shipped.
type Store interface {
	// AccessGet returns a record's value and version; efs.ErrNotFound.
	AccessGet(ctx context.Context, kind, name string) (value []byte, version uint64, err error)
	// AccessList returns up to limit records of a kind with names after
	// after, by name.
	AccessList(ctx context.Context, kind, after string, limit int) ([]efs.AccessRecord, error)
	// AccessCommit applies all of muts or none. It returns when they are
	// durable; efs.ErrConflict if a version is not the expected one.
	AccessCommit(ctx context.Context, muts []efs.AccessMutation) error
}

// Directory is the users of one file system. It is safe for concurrent use.
type Directory struct {
	fs    string
	store Store
	cas   atomic.Pointer[authorities]
	now   func() time.Time
	gen   atomic.Uint64

	limits atomic.Pointer[map[string]Limits] // by user; replaced, never changed

	write sync.Mutex // held over a change: read, commit, take over

	mu       sync.RWMutex
	users    map[string]*member
	certs    map[Digest]holder
	holdings map[Principal]*held
	onChange []func(user string)
	onRevoke []func(Principal)
	exports  string // system directory kept up to date; "" for none
	logger   *slog.Logger
}

// member is a user with keys parsed. It is never changed, only replaced.
type member struct {
	user *User
	keys []*userkey.Public
}

// holder is whose a certificate is.
type holder struct {
	user     string
	notAfter time.Time
	revoked  bool
}

// Create makes the authority for the client certificates of a new file system
// and stores it. efs.ErrExists if there is one already.
func Create(ctx context.Context, fs string, store Store) (*Directory, error) {
	cert, key, err := pki.NewClientCA(fs)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	value, err := detcbor.MarshalSecret(caRecord{Format: recordVersion, Cert: cert, Key: key, Created: time.Now().UTC()})
	if err != nil {
		return nil, fmt.Errorf("encoding the certificate authority: %w", err)
	}
	defer clear(value)
	err = store.AccessCommit(ctx, []efs.AccessMutation{{Kind: kindCA, Name: caUsers, Value: value}})
	if errors.Is(err, efs.ErrConflict) {
		return nil, fmt.Errorf("%s has a certificate authority: %w", fs, efs.ErrExists)
	}
	if err != nil {
		return nil, fmt.Errorf("storing the certificate authority of %s: %w", fs, err)
	}
	return Open(ctx, fs, store)
}

// Open reads authority and users of a file system from its store.
func Open(ctx context.Context, fs string, store Store) (*Directory, error) {
	cas, err := openCA(ctx, fs, store)
	if err != nil {
		return nil, err
	}
	d := &Directory{fs: fs, store: store, now: time.Now, logger: slog.New(slog.DiscardHandler)}
	d.cas.Store(cas)
	if err := d.loadLimits(ctx); err != nil {
		return nil, err
	}
	return d, d.Reload(ctx)
}

// Reload reads all users again, after somebody else changed the store.
func (d *Directory) Reload(ctx context.Context) error {
	d.write.Lock()
	defer d.write.Unlock()
	return d.reload(ctx)
}

// reload is Reload with d.write held.
func (d *Directory) reload(ctx context.Context) error {
	users, certs := map[string]*member{}, map[Digest]holder{}
	const page = 1 << 14 // a store may have to read all for each
	for after := ""; ; {
		records, err := d.store.AccessList(ctx, kindUser, after, page)
		if err != nil {
			return fmt.Errorf("reading the users of %s: %w", d.fs, err)
		}
		for _, r := range records {
			u, err := decodeUser(r.Name, r.Value)
			if err != nil {
				return err
			}
			m, err := newMember(u)
			if err != nil {
				return err
			}
			users[u.Name] = m
			m.hold(certs)
			after = r.Name
		}
		if len(records) < page {
			break
		}
	}
	holdings, err := d.readHoldings(ctx)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.users, d.certs, d.holdings = users, certs, holdings
	d.gen.Add(1)
	return nil
}

func newMember(u *User) (*member, error) {
	m := &member{user: u}
	for _, k := range u.Keys {
		p, err := userkey.ReadPublic(k.Text)
		if err != nil {
			return nil, fmt.Errorf("user %s: stored key %s cannot be read: %w", u.Name, k.Fingerprint, efs.ErrDamaged)
		}
		m.keys = append(m.keys, p)
	}
	return m, nil
}

// hold enters the member's certificates.
func (m *member) hold(certs map[Digest]holder) {
	for _, c := range m.user.Certificates {
		certs[c.SHA256] = holder{
			user:     m.user.Name,
			notAfter: c.NotAfter,
			revoked:  c.Revoked != nil || m.user.Revoked != nil,
		}
	}
}

// FS returns the file system's name.
func (d *Directory) FS() string { return d.fs }

// CA returns the authority's certificate, PEM: what a TLS terminator in front
// of EFS asks clients for.
func (d *Directory) CA() []byte { return d.caPEM() }

// Generation changes whenever a verdict of Judge might: whoever remembers one
// remembers the generation with it.
func (d *Directory) Generation() uint64 { return d.gen.Load() }

// Judge says whose a client certificate is, or why it opens nothing. That the
// client holds its private key is for TLS to have proved. It looks the
// certificate up by its SHA-256 among those that were issued and takes less
// than a microsecond or two.
func (d *Directory) Judge(_ context.Context, cert *x509.Certificate) (user string, err error) {
	if cert == nil {
		return "", ErrCertificateRequired
	}
	d.mu.RLock()
	h, known := d.certs[sha256.Sum256(cert.Raw)]
	d.mu.RUnlock()
	now := d.now()
	switch {
	case known && h.revoked:
		return "", ErrCertificateRevoked
	case known && now.After(h.notAfter):
		return "", ErrCertificateExpired
	case known:
		return h.user, nil
	case now.After(cert.NotAfter) && d.signed(cert):
		return "", ErrCertificateExpired
	}
	return "", ErrCertificateUnknown
}

// CertificateUser returns whose the certificate with that SHA-256 (64 hex
// digits) is, if it is valid now.
func (d *Directory) CertificateUser(fingerprint string) (user string, ok bool) {
	var sum Digest
	if sum.UnmarshalText([]byte(fingerprint)) != nil {
		return "", false
	}
	d.mu.RLock()
	h, known := d.certs[sum]
	d.mu.RUnlock()
	if !known || h.revoked || d.now().After(h.notAfter) {
		return "", false
	}
	return h.user, true
}

// SigningKeys returns the keys that may sign for user now; none for a user
// that does not exist or is revoked.
func (d *Directory) SigningKeys(user string) []*userkey.Public {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if m := d.users[user]; m != nil && m.user.Revoked == nil {
		return m.keys
	}
	return nil
}

// GetUser returns a copy of what is kept of a user; efs.ErrNotFound.
func (d *Directory) GetUser(_ context.Context, name string) (*User, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if m := d.users[name]; m != nil {
		return m.user.clone(), nil
	}
	return nil, notFound(d.fs, name)
}

// ListUsers returns a copy of all users, by name.
func (d *Directory) ListUsers(_ context.Context) ([]*User, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := make([]*User, 0, len(d.users))
	for _, name := range slices.Sorted(maps.Keys(d.users)) {
		list = append(list, d.users[name].user.clone())
	}
	return list, nil
}

func notFound(fs, user string) error {
	return fmt.Errorf("user %q in %s: %w", user, fs, efs.ErrNotFound)
}
