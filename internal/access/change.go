package access

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/pki"
	"github.com/efs-project/efs/internal/userkey"
)

// Issued is a certificate for a user, as it is handed over.
type Issued struct {
	Bundle      []byte // certificate, private key if EFS made it, authority: one PEM text for curl --cert
	Certificate *x509.Certificate
}

// OnChange registers fn to be called with the name of a user after something
// was taken from the user: a key, the certificates, existence. Whoever keeps
// sessions or connections ends the user's then. It is called before the change
// returns to its caller, and must not change the directory.
func (d *Directory) OnChange(fn func(user string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onChange = append(d.onChange, fn)
}

// CreateUser adds a user with a public key and issues the first client
// certificate: for tlsKey, or, if that is nil, for a key made here, which is in
// the bundle and nowhere else. It happens wholly or not at all. Errors:
// efs.ErrBadInput (name, key), efs.ErrExists.
func (d *Directory) CreateUser(ctx context.Context, name string, key *userkey.Public, tlsKey crypto.PublicKey) (*Issued, error) {
	return d.createUser(ctx, name, key, tlsKey, false)
}

// CreateUserWithoutGrants is CreateUser for a user who may do nothing until
// something is granted.
func (d *Directory) CreateUserWithoutGrants(ctx context.Context, name string, key *userkey.Public, tlsKey crypto.PublicKey) (*Issued, error) {
	return d.createUser(ctx, name, key, tlsKey, true)
}

func (d *Directory) createUser(ctx context.Context, name string, key *userkey.Public, tlsKey crypto.PublicKey, explicit bool) (*Issued, error) {
	if !efs.ValidUserName(name) {
		return nil, fmt.Errorf("user name %q: letters, digits and . _ - only, at most 63, beginning with a letter or digit: %w", name, efs.ErrBadInput)
	}
	if err := key.Usable(); err != nil {
		return nil, err
	}
	issued, err := d.issue(name, tlsKey)
	if err != nil {
		return nil, err
	}
	now := d.now().UTC().Truncate(time.Second)
	u := &User{Format: recordVersion, Name: name, Created: now, Keys: []Key{newKey(key, now)}, Explicit: explicit}
	if err := u.addCertificate(issued.Certificate, now); err != nil {
		return nil, err
	}
	d.write.Lock()
	defer d.write.Unlock()
	err = d.commit(ctx, u, 0)
	if errors.Is(err, efs.ErrConflict) {
		return nil, fmt.Errorf("user %q in %s: %w", name, d.fs, efs.ErrExists)
	}
	if err != nil {
		return nil, fmt.Errorf("creating user %s: %w", name, err)
	}
	return issued, nil
}

func (d *Directory) issue(user string, tlsKey crypto.PublicKey) (*Issued, error) {
	var keyPEM []byte
	if tlsKey == nil {
		signer, text, err := pki.NewKey()
		if err != nil {
			return nil, err
		}
		tlsKey, keyPEM = signer.Public(), text
	}
	ca := d.authority()
	certPEM, cert, err := ca.IssueClient(d.fs, user, tlsKey, pki.ClientTTL)
	if err != nil {
		return nil, err
	}
	return &Issued{Bundle: pki.Bundle(certPEM, keyPEM, ca.PEM()), Certificate: cert}, nil
}

// Renew issues a further client certificate to a user for the public key of a
// certificate request, of which nothing else is used. Earlier certificates stay
// valid to their own end. Errors: efs.ErrBadInput (request), efs.ErrNotFound,
// efs.ErrRefused (user revoked, or too many certificates).
func (d *Directory) Renew(ctx context.Context, user string, csrPEM []byte) (*Issued, error) {
	pub, err := pki.ParseCSR(csrPEM)
	if err != nil {
		return nil, err
	}
	var issued *Issued
	err = d.update(ctx, user, func(u *User, now time.Time) error {
		if u.Revoked != nil {
			return fmt.Errorf("user %s is revoked: %w", user, efs.ErrRefused)
		}
		if issued, err = d.issue(user, pub); err != nil {
			return err
		}
		return u.addCertificate(issued.Certificate, now)
	})
	if err != nil {
		return nil, err
	}
	return issued, nil
}

// AddKey lets a user sign with a further key. efs.ErrExists if it is there
// already, efs.ErrRefused above MaxKeys.
func (d *Directory) AddKey(ctx context.Context, user string, key *userkey.Public) error {
	if err := key.Usable(); err != nil {
		return err
	}
	return d.update(ctx, user, func(u *User, now time.Time) error {
		if slices.ContainsFunc(u.Keys, func(k Key) bool { return k.Fingerprint == key.Fingerprint() }) {
			return fmt.Errorf("user %s has key %s: %w", user, key.Fingerprint(), efs.ErrExists)
		}
		if len(u.Keys) >= MaxKeys {
			return fmt.Errorf("user %s has %d keys, which is the most; remove one first: %w", user, MaxKeys, efs.ErrRefused)
		}
		u.Keys = append(u.Keys, newKey(key, now))
		return nil
	})
}

// RemoveKey takes a key, named by its fingerprint, from a user, whose sessions
// end. The last key cannot be removed (efs.ErrRefused).
func (d *Directory) RemoveKey(ctx context.Context, user, fingerprint string) error {
	return d.takeAway(ctx, user, func(u *User, _ time.Time) error {
		rest := slices.DeleteFunc(u.Keys, func(k Key) bool { return strings.EqualFold(k.Fingerprint, fingerprint) })
		switch {
		case len(rest) == len(u.Keys):
			return fmt.Errorf("key %q of user %s: %w; list-users shows them", fingerprint, user, efs.ErrNotFound)
		case len(rest) == 0:
			return fmt.Errorf("user %s has no other key; add one first, or delete the user: %w", user, efs.ErrRefused)
		}
		u.Keys = rest
		return nil
	})
}

// Revoke revokes every certificate of a user and lets nobody sign for the user
// any more; sessions and connections end before it returns. Revoking twice is
// no error.
func (d *Directory) Revoke(ctx context.Context, user string) error {
	return d.takeAway(ctx, user, func(u *User, now time.Time) error {
		if u.Revoked == nil {
			u.Revoked = &now
		}
		for i := range u.Certificates {
			if c := &u.Certificates[i]; c.Revoked == nil {
				c.Revoked = &now
			}
		}
		return nil
	})
}

// takeAway is update for changes that take something from a user. Whoever is
// told of changes is told even when it is unclear whether this one was stored:
// ending a session too many costs a handshake.
func (d *Directory) takeAway(ctx context.Context, user string, fn func(u *User, now time.Time) error) error {
	before := d.Generation()
	err := d.update(ctx, user, fn)
	if err == nil || d.Generation() != before {
		d.notify(user)
	}
	return err
}

// DeleteUser forgets a user with all grants held here; sessions and connections end before it returns.
// The user's files stay. efs.ErrNotFound.
func (d *Directory) DeleteUser(ctx context.Context, user string) error {
	before := d.Generation()
	err := d.delete(ctx, user)
	if err == nil || d.Generation() != before {
		d.notify(user)
	}
	if err == nil { // whoever is given the name next is somebody else
		if dropped := d.DropLimits(ctx, user); dropped != nil && !errors.Is(dropped, efs.ErrNotFound) {
			err = fmt.Errorf("the user is deleted, the user's limits are not: %w", dropped)
		}
	}
	return err
}

func (d *Directory) delete(ctx context.Context, user string) error {
	d.write.Lock()
	defer d.write.Unlock()
	return retry(func() error {
		_, version, err := d.store.AccessGet(ctx, kindUser, user)
		if errors.Is(err, efs.ErrNotFound) {
			return notFound(d.fs, user)
		}
		if err != nil {
			return fmt.Errorf("deleting user %s: %w", user, err)
		}
		own := Principal{user, d.fs}
		muts := []efs.AccessMutation{{Kind: kindUser, Name: user, Version: version}}
		_, granted, err := d.holding(ctx, own)
		if err != nil {
			return err
		}
		if granted != 0 {
			muts = append(muts, efs.AccessMutation{Kind: kindGrant, Name: own.String(), Version: granted})
		}
		if err := d.storeAll(ctx, muts); err != nil {
			return fmt.Errorf("deleting user %s: %w", user, err)
		}
		d.takeHolding(own, nil)
		d.take(user, nil)
		return nil
	})
}

// storeOne commits one mutation. A failure may come after the change was stored
// (say, when anchoring it failed): then what the store holds now counts, lest
// somebody who was revoked on disk goes on in memory.
func (d *Directory) storeOne(ctx context.Context, mut efs.AccessMutation) error {
	err := d.store.AccessCommit(ctx, []efs.AccessMutation{mut})
	if err == nil || errors.Is(err, efs.ErrConflict) {
		return err
	}
	value, version, getErr := d.store.AccessGet(context.WithoutCancel(ctx), mut.Kind, mut.Name)
	if errors.Is(getErr, efs.ErrNotFound) && mut.Version != 0 {
		d.take(mut.Name, nil)
	}
	if getErr != nil || version == mut.Version {
		return err
	}
	if u, decodeErr := decodeUser(mut.Name, value); decodeErr == nil {
		if m, memberErr := newMember(u); memberErr == nil {
			d.take(mut.Name, m)
		}
	}
	return err
}

// update changes a user's record by fn, which sees a copy.
func (d *Directory) update(ctx context.Context, user string, fn func(u *User, now time.Time) error) error {
	d.write.Lock()
	defer d.write.Unlock()
	return retry(func() error {
		value, version, err := d.store.AccessGet(ctx, kindUser, user)
		if errors.Is(err, efs.ErrNotFound) {
			return notFound(d.fs, user)
		}
		if err != nil {
			return fmt.Errorf("reading user %s: %w", user, err)
		}
		u, err := decodeUser(user, value)
		if err != nil {
			return err
		}
		if err := fn(u, d.now().UTC().Truncate(time.Second)); err != nil {
			return err
		}
		if err := d.commit(ctx, u, version); err != nil {
			return fmt.Errorf("changing user %s: %w", user, err)
		}
		return nil
	})
}

// retry runs fn again, a few times, when another process got in between.
func retry(fn func() error) error {
	const tries = 3
	var err error
	for range tries {
		if err = fn(); !errors.Is(err, efs.ErrConflict) {
			return err
		}
	}
	return err
}

// commit stores u and takes it over. Called with d.write held.
func (d *Directory) commit(ctx context.Context, u *User, version uint64) error {
	value, err := encodeUser(u)
	if err != nil {
		return err
	}
	m, err := newMember(u)
	if err != nil {
		return err
	}
	if err := d.storeOne(ctx, efs.AccessMutation{Kind: kindUser, Name: u.Name, Value: value, Version: version}); err != nil {
		return err
	}
	d.take(u.Name, m)
	return nil
}

// take makes m (nil: nobody) what is known of a user, and renews the exports.
func (d *Directory) take(name string, m *member) {
	d.mu.Lock()
	if old := d.users[name]; old != nil {
		for _, c := range old.user.Certificates {
			delete(d.certs, c.SHA256)
		}
	}
	delete(d.users, name)
	if m != nil {
		d.users[name] = m
		m.hold(d.certs)
	}
	d.gen.Add(1)
	dir, logger := d.exports, d.logger
	d.mu.Unlock()
	if dir == "" {
		return
	}
	if err := exportOne(dir, name, m); err != nil {
		logger.Warn("exporting a user failed; the user is stored, the files under system/users are out of date until the next start", "fs", d.fs, "user", name, "error", err)
	}
}

func (d *Directory) notify(user string) {
	d.mu.RLock()
	fns := slices.Clone(d.onChange)
	d.mu.RUnlock()
	for _, fn := range fns {
		fn(user)
	}
}
