package keyring

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/seal"
)

// The keyring's own purposes of a file system's root keys.
const (
	purposeManifest = "keyring manifest"
	purposeAnchor   = "keyring anchor"
	rootLabel       = "efs root key\x00"
)

// Keys are the keys of one file system. Safe for concurrent use.
type Keys struct {
	manifest   *manifest
	body, sum  []byte     // of the stored manifest
	roots      []*liveKey // by stage
	newest     []*liveKey // by stage
	epochs     map[efs.ID]*liveKey
	recipients []seal.Recipient
}

// assemble puts the stored records of a file system together and checks that
// they are the ones that its manifest names. The manifest itself is proven by
// verify.
func (r *Keyring) assemble(fs efs.ID, stored []byte, records map[efs.ID]keyRecord) (*Keys, error) {
	m, body, sum, err := parseManifest(stored)
	if err != nil {
		return nil, err
	}
	if m.FS != fs {
		return nil, fmt.Errorf("%w: the manifest of file system %s lies in its place", efs.ErrWrongKey, m.FS)
	}
	k, err := r.keysOf(m, records)
	if err != nil {
		return nil, err
	}
	k.body, k.sum = body, sum
	return k, nil
}

func (r *Keyring) keysOf(m *manifest, records map[efs.ID]keyRecord) (*Keys, error) {
	k := &Keys{manifest: m, epochs: map[efs.ID]*liveKey{}}
	take := func(id efs.ID, kd kind, stage, number int) (*liveKey, error) {
		rec, ok := records[id]
		if !ok || rec.FS != m.FS || rec.Kind != kd || rec.Purpose != string(kd) || rec.Stage != stage || rec.Epoch != number || rec.State != stateLive {
			return nil, fmt.Errorf("%w: the %s key of stage %d, epoch %d is missing or another lies in its place: "+
				"put back the keys.db that belongs to this root", efs.ErrDamaged, kd, stage, number)
		}
		return &liveKey{rec: rec, unwrap: r.unwrap, life: &r.life}, nil
	}
	for i, id := range m.Roots {
		l, err := take(id, kindRoot, i, 0)
		if err != nil {
			return nil, err
		}
		k.roots = append(k.roots, l)
	}
	for _, e := range m.Epochs {
		for i, id := range e.Keys {
			l, err := take(id, kindEpoch, i, e.Number)
			if err != nil {
				return nil, err
			}
			k.epochs[id] = l
			if e.Number == m.Newest {
				k.newest = append(k.newest, l)
				k.recipients = append(k.recipients, seal.KeyRecipient(l))
			}
		}
	}
	if len(k.roots) == 0 || len(k.newest) == 0 {
		return nil, fmt.Errorf("%w: the manifest names no keys", efs.ErrDamaged)
	}
	return k, nil
}

// verify unwraps the root secrets and the newest epoch, and checks the
// manifest.
func (k *Keys) verify(ctx context.Context) error {
	key, err := k.root(ctx, purposeManifest)
	if err != nil {
		return err
	}
	defer secret.Wipe(key)
	if !hmac.Equal(tag(key, k.body), k.sum) {
		return fmt.Errorf("%w: the manifest was changed: put back the keys.db that belongs to this root", efs.ErrDamaged)
	}
	for _, l := range k.newest {
		if err := l.alive(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sealManifest returns the stored form of a new manifest.
func (k *Keys) sealManifest(ctx context.Context) ([]byte, error) {
	key, err := k.root(ctx, purposeManifest)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(key)
	return k.manifest.seal(key)
}

// FS is the file system whose keys they are.
func (k *Keys) FS() efs.ID { return k.manifest.FS }

// Name is the file system's name at the time of its creation.
func (k *Keys) Name() string { return k.manifest.Name }

// Recipients returns what seals a new content: one per stage, in order, of the
// newest epoch. The caller must not change the slice. The error says that the
// keys are not usable now.
func (k *Keys) Recipients() ([]seal.Recipient, error) {
	for _, l := range k.newest {
		if err := l.alive(context.Background()); err != nil {
			return nil, err
		}
	}
	return k.recipients, nil
}

// Identity opens the slots of every live key of this file system. For others
// it answers seal.ErrNoKey.
func (k *Keys) Identity() seal.Identity {
	return seal.KeyIdentity(func(id [16]byte) (seal.KEK, error) {
		if l, ok := k.epochs[id]; ok {
			return l, nil
		}
		return nil, fmt.Errorf("%w: key %s is not of file system %s, or was destroyed", seal.ErrNoKey, efs.ID(id), k.FS())
	})
}

// Root derives a key of 32 bytes for a purpose ("index", "names") from the
// root secrets of all stages, so that no stage's KMS alone can give it. The
// caller wipes it. It stays the same for the life of the file system.
func (k *Keys) Root(purpose string) ([]byte, error) {
	return k.root(context.Background(), purpose)
}

func (k *Keys) root(ctx context.Context, purpose string) ([]byte, error) {
	secrets := make([]byte, 0, len(k.roots)*secret.Size)
	defer func() { secret.Wipe(secrets[:cap(secrets)]) }()
	for _, l := range k.roots {
		err := l.with(ctx, func(key *secret.Key) error {
			return key.With(func(b []byte) { secrets = append(secrets, b...) })
		})
		if err != nil {
			return nil, err
		}
	}
	return hkdf.Key(sha256.New, secrets, k.manifest.FS[:], rootLabel+purpose, secret.Size)
}

// Live is nil while the file system's root secrets may be used, else why not
// (efs.ErrRefused, efs.ErrUnavailable, …). It costs little while they are
// unwrapped, and asks the KMS when they are not.
func (k *Keys) Live() error {
	for _, l := range k.roots {
		if err := l.alive(context.Background()); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keys) all() []*liveKey {
	all := slices.Clone(k.roots)
	for _, l := range k.epochs {
		all = append(all, l)
	}
	return all
}

func (k *Keys) destroy(err error) {
	for _, l := range k.all() {
		l.destroy(err)
	}
}
