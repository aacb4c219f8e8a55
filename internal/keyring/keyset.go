package keyring

import (
	"context"
	"crypto/hmac"
	"crypto/subtle"
	"fmt"
	"slices"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kdf"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/seal"
)

// keyset is what a manifest names, as of one moment. It is never changed, but
// exchanged for another, which shares the keys that stay: who uses one while
// that happens goes on with it.
type keyset struct {
	manifest  *manifest
	body, sum []byte                   // of the stored manifest
	roots     []*liveKey               // by stage
	epochs    map[efs.ID]*liveKey      // keys of all epochs, by id
	sealing   [maxStages + 1]*sealKeys // what seals new contents of so many stages; nil: nothing
}

// sealKeys are the keys of one epoch.
type sealKeys struct {
	epoch      int
	keys       []*liveKey // by stage
	recipients []seal.Recipient
}

// keysetOf puts records together as the manifest names them. Keys that old has
// too are taken from it, unwrapped as they may be; old may be nil.
func (r *Keyring) keysetOf(m *manifest, records map[efs.ID]keyRecord, old *keyset) (*keyset, error) {
	s := &keyset{manifest: m, epochs: map[efs.ID]*liveKey{}}
	known := map[efs.ID]*liveKey{}
	if old != nil {
		for _, l := range old.all() {
			known[l.ID()] = l
		}
	}
	take := func(id efs.ID, kd kind, stage, number int) (*liveKey, error) {
		if l, ok := known[id]; ok {
			return l, nil
		}
		rec, ok := records[id]
		if !ok || rec.FS != m.FS || rec.Kind != kd || rec.Purpose != string(kd) || rec.Stage != stage || rec.Epoch != number || rec.State != stateLive {
			return nil, fmt.Errorf("%w: the %s key of stage %d, epoch %d is missing or another lies in its place: "+
				"put back the keys.db that belongs to this root", efs.ErrDamaged, kd, stage, number)
		}
		return r.newLive(rec), nil
	}
	for i, id := range m.Roots {
		l, err := take(id, kindRoot, i, 0)
		if err != nil {
			return nil, err
		}
		s.roots = append(s.roots, l)
	}
	for _, e := range m.Epochs {
		k := &sealKeys{epoch: e.Number}
		for i, id := range e.Keys {
			l, err := take(id, kindEpoch, i, e.Number)
			if err != nil {
				return nil, err
			}
			s.epochs[id] = l
			k.keys = append(k.keys, l)
			k.recipients = append(k.recipients, seal.KeyRecipient(l))
		}
		if n := len(k.keys); e.State == stateLive && n > 0 && n <= maxStages && (s.sealing[n] == nil || s.sealing[n].epoch < e.Number) {
			s.sealing[n] = k
		}
	}
	if len(s.roots) == 0 || s.newest() == nil {
		return nil, fmt.Errorf("%w: the manifest names no keys", efs.ErrDamaged)
	}
	return s, nil
}

// newest returns the keys of the newest epoch; nil if the manifest lacks it.
func (s *keyset) newest() *sealKeys {
	for _, k := range s.sealing {
		if k != nil && k.epoch == s.manifest.Newest {
			return k
		}
	}
	return nil
}

// keysOf returns the keys of an epoch, by stage; nil if there is none.
func (s *keyset) keysOf(number int) []*liveKey {
	i := s.manifest.find(number)
	if i < 0 {
		return nil
	}
	var keys []*liveKey
	for _, id := range s.manifest.Epochs[i].Keys {
		keys = append(keys, s.epochs[id])
	}
	return keys
}

// verify unwraps the root secrets and the newest epoch, and checks the
// manifest.
func (s *keyset) verify(ctx context.Context) error {
	key, err := s.root(ctx, purposeManifest)
	if err != nil {
		return err
	}
	defer secret.Wipe(key)
	if !hmac.Equal(tag(key, s.body), s.sum) {
		return fmt.Errorf("%w: the manifest was changed: put back the keys.db that belongs to this root", efs.ErrDamaged)
	}
	return s.newest().alive(ctx)
}

func (k *sealKeys) alive(ctx context.Context) error {
	for _, l := range k.keys {
		if err := l.alive(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sign makes the stored form of the manifest, with a tag under the root keys
// of from: s itself, or the keyset before it. Root keys stay the same for the
// life of the file system.
func (s *keyset) sign(ctx context.Context, from *keyset) error {
	key, err := from.root(ctx, purposeManifest)
	if err != nil {
		return err
	}
	defer secret.Wipe(key)
	stored, err := s.manifest.seal(key)
	if err != nil {
		return err
	}
	n := len(stored) - tagSize
	s.body, s.sum = stored[:n:n], stored[n:]
	return nil
}

func (s *keyset) stored() []byte { return slices.Concat(s.body, s.sum) }

// root derives the file system's key for a purpose: HKDF-Expand (RFC 5869)
// of its root key.
func (s *keyset) root(ctx context.Context, purpose string) ([]byte, error) {
	prk, err := s.rootKey(ctx)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(prk)
	return rootPurpose(prk, purpose), nil
}

// rootPurpose derives a key for a purpose from the root key.
func rootPurpose(prk []byte, purpose string) []byte {
	out := kdf.MAC(prk, []byte(rootLabel+purpose), []byte{1})
	defer clear(out[:])
	return slices.Clone(out[:])
}

// rootKey puts the root secrets of all stages together; the caller wipes it.
// All shares are needed: less than all of them are random bytes that tell
// nothing of it.
func (s *keyset) rootKey(ctx context.Context) ([]byte, error) {
	secrets := make([]byte, 0, len(s.roots)*secret.Size)
	defer func() { secret.Wipe(secrets[:cap(secrets)]) }()
	for _, l := range s.roots {
		err := l.with(ctx, func(key *secret.Key) error {
			return key.With(func(b []byte) { secrets = append(secrets, b...) })
		})
		if err != nil {
			return nil, err
		}
	}
	return joinRoot(s.manifest.FS, s.manifest.Split, secrets), nil
}

// joinRoot makes the root key of the root secrets of all stages, joined.
func joinRoot(fs efs.ID, how split, secrets []byte) []byte {
	if how == splitConcat { // HKDF-Extract of all of them
		prk := kdf.MAC(fs[:], secrets, nil)
		defer clear(prk[:])
		return slices.Clone(prk[:])
	}
	prk := make([]byte, secret.Size)
	for share := range slices.Chunk(secrets, secret.Size) {
		subtle.XORBytes(prk, prk, share)
	}
	return prk
}

func (s *keyset) all() []*liveKey {
	all := slices.Clone(s.roots)
	for _, l := range s.epochs {
		all = append(all, l)
	}
	return all
}
