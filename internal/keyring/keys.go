package keyring

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/seal"
)

// The keyring's own purposes of a file system's root keys.
const (
	purposeManifest = "keyring manifest"
	purposeAnchor   = "keyring anchor"
	purposeTags     = "keyring tags"
	rootLabel       = "efs root key\x00"
)

// Keys are the keys of one file system. Safe for concurrent use.
type Keys struct {
	ring   *Keyring
	fs     efs.ID
	now    atomic.Pointer[keyset]
	change sync.RWMutex // held for writing while the keyset is exchanged, for reading while a unit is made
	units  unitCache

	onChange  atomic.Pointer[func()]
	exporting sync.Mutex // held while the copies are written
}

// OnChange has f called after the stored keys of the file system changed, so
// that what was made of them (exports) is made again. f must not change keys.
func (k *Keys) OnChange(f func()) { k.onChange.Store(&f) }

func (k *Keys) changed() {
	if f := k.onChange.Load(); f != nil {
		(*f)()
	}
}

func (r *Keyring) newKeys(s *keyset) *Keys {
	k := &Keys{ring: r, fs: s.manifest.FS}
	k.now.Store(s)
	k.units.clear()
	return k
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
	s, err := r.keysetOf(m, records, nil)
	if err != nil {
		return nil, err
	}
	s.body, s.sum = body, sum
	return r.newKeys(s), nil
}

func (k *Keys) set() *keyset { return k.now.Load() }

// FS is the file system whose keys they are.
func (k *Keys) FS() efs.ID { return k.fs }

// Name is the file system's name at the time of its creation.
func (k *Keys) Name() string { return k.set().manifest.Name }

// Recipients returns what seals a new content: one per stage, in order, of the
// newest epoch. The caller must not change the slice. The error says that the
// keys are not usable now.
func (k *Keys) Recipients() ([]seal.Recipient, error) {
	n := k.set().newest()
	return n.recipients, n.alive(context.Background())
}

// Epoch is the number of the newest epoch.
func (k *Keys) Epoch() int { return k.set().manifest.Newest }

// Sealing returns what seals a new content of so many stages: the newest live
// epoch that has as many, and its recipients, both of one moment. While a
// policy with another number of stages comes into force, writers under the
// old one so go on under the old keys. efs.ErrWrongKey if no epoch fits; else
// the error says that the keys are not usable now. The caller must not change
// the slice.
func (k *Keys) Sealing(stages int) (epoch int, recipients []seal.Recipient, err error) {
	s := k.set()
	if stages < 1 || stages > maxStages || s.sealing[stages] == nil {
		return 0, nil, fmt.Errorf("%w: no keys for %d stages, the newest epoch has %d", efs.ErrWrongKey, stages, len(s.newest().keys))
	}
	n := s.sealing[stages]
	for _, l := range n.keys {
		if err := l.alive(context.Background()); err != nil {
			return 0, nil, err
		}
	}
	return n.epoch, n.recipients, nil
}

// Identity opens the slots of every live key of this file system, and by their
// tags those of every live unit. For others it answers seal.ErrNoKey, for
// those of a unit whose key was destroyed efs.ErrForgotten.
func (k *Keys) Identity() seal.Identity {
	return seal.KeyIdentity(func(id [16]byte) (seal.KEK, error) {
		if l, ok := k.set().epochs[id]; ok {
			return l, nil
		}
		return k.unitKEK(id)
	})
}

// Root derives a key of 32 bytes for a purpose ("index", "names") from the
// root secrets of all stages, so that no stage's KMS alone can give it. The
// caller wipes it. It stays the same for the life of the file system.
func (k *Keys) Root(purpose string) ([]byte, error) {
	return k.root(context.Background(), purpose)
}

// root derives from the present keyset; from the next one if that came
// meanwhile and ended the keys of the former.
func (k *Keys) root(ctx context.Context, purpose string) ([]byte, error) {
	for {
		s := k.set()
		b, err := s.root(ctx, purpose)
		if err == nil || k.set() == s {
			return b, err
		}
	}
}

// Live is nil while the file system's root secrets may be used, else why not
// (efs.ErrRefused, efs.ErrUnavailable, …). It costs little while they are
// unwrapped, and asks the KMS when they are not.
func (k *Keys) Live() error {
	for {
		s := k.set()
		err := s.live()
		if err == nil || k.set() == s {
			return err
		}
	}
}

func (s *keyset) live() error {
	for _, l := range s.roots {
		if err := l.alive(context.Background()); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keys) all() []*liveKey { return k.set().all() }

func (k *Keys) destroy(err error) {
	for _, l := range k.all() {
		l.destroy(err)
	}
}
