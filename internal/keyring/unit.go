package keyring

import (
	"context"
	"crypto/aes"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/kdf"
	"github.com/efs-project/efs/internal/secret"
	"github.com/efs-project/efs/seal"
)

const (
	unitStageLabel = "efs unit stage key\x00"
	unitRootLabel  = "efs unit root key\x00"
	noStage        = 0xff // in tags that stand for a unit as a whole
)

// Unit is the key of an erasure unit. Its secret is put together for each use
// from the shares under the epoch keys of all stages, and wiped after it: so it
// lives and ends with those. Safe for concurrent use; after its key was
// destroyed every method but ID and Tag answers efs.ErrForgotten.
type Unit struct {
	keys *Keys
	id   efs.ID
}

// Unit returns a unit by its id. efs.ErrForgotten if its key was destroyed,
// efs.ErrNotFound if there never was one.
func (k *Keys) Unit(id efs.ID) (*Unit, error) {
	rec, err := k.unitRecord(numberOf(id))
	if err != nil {
		return nil, err
	}
	if rec == nil || rec.ID != id {
		return nil, fmt.Errorf("%w: unit %s", efs.ErrNotFound, id)
	}
	if rec.State == stateDestroyed {
		return nil, fmt.Errorf("%w: the key of unit %s was destroyed", efs.ErrForgotten, id)
	}
	return &Unit{k, id}, nil
}

// ID is the unit's id.
func (u *Unit) ID() efs.ID { return u.id }

// Tag returns 16 bytes that lead to the unit (UnitByTag), fresh ones each
// time: to all others they are random bytes, of which no two go together. The
// error says that the file system's keys are not usable now.
func (u *Unit) Tag() ([16]byte, error) { return u.keys.tag(u.id, noStage) }

// UnitByTag returns the unit that a tag of Tag leads to. efs.ErrForgotten if
// its key was destroyed, efs.ErrNotFound if the bytes are no tag of a unit of
// this file system; what the KMS answers.
func (k *Keys) UnitByTag(tag [16]byte) (*Unit, error) {
	u, stage, err := k.byTag(tag)
	if err == nil && stage != noStage {
		return nil, fmt.Errorf("%w: the tag of a stage of unit %s", efs.ErrNotFound, u.id)
	}
	return u, err
}

// tag encrypts number ‖ stage ‖ 8 random bytes as one block of AES-256.
func (k *Keys) tag(id efs.ID, stage byte) (tag [16]byte, err error) {
	key, err := k.root(context.Background(), purposeTags)
	if err != nil {
		return tag, err
	}
	defer secret.Wipe(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return tag, err
	}
	n := numberOf(id)
	copy(tag[:], n[:])
	tag[len(n)] = stage
	_, _ = rand.Read(tag[len(n)+1:])
	block.Encrypt(tag[:], tag[:])
	return tag, nil
}

// byTag decrypts a tag. Other bytes look like the tag of one of n units with a
// probability of less than n/2^56.
func (k *Keys) byTag(tag [16]byte) (*Unit, byte, error) {
	key, err := k.root(context.Background(), purposeTags)
	if err != nil {
		return nil, 0, err
	}
	defer secret.Wipe(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, 0, err
	}
	block.Decrypt(tag[:], tag[:])
	n, stage := unitNumber(tag[:7]), tag[7]
	if stage >= maxStages && stage != noStage {
		return nil, 0, fmt.Errorf("%w: no tag of a unit", efs.ErrNotFound)
	}
	rec, err := k.unitRecord(n)
	if err != nil {
		return nil, 0, err
	}
	if rec == nil {
		return nil, 0, fmt.Errorf("%w: no tag of a unit", efs.ErrNotFound)
	}
	if rec.State == stateDestroyed {
		return nil, 0, fmt.Errorf("%w: the key of unit %s was destroyed", efs.ErrForgotten, rec.ID)
	}
	return &Unit{k, rec.ID}, stage, nil
}

// secret puts the unit's secret together; the caller wipes it.
func (u *Unit) secret(ctx context.Context) ([]byte, error) {
	c := &u.keys.units
	for {
		gen := c.gen.Load()
		b, err := u.open(ctx)
		if c.gen.Load() == gen {
			return b, err
		}
		secret.Wipe(b)
	}
}

func (u *Unit) open(ctx context.Context) ([]byte, error) {
	rec, keys, err := u.record()
	if err == nil && keys == nil && rec.State == stateLive {
		// Of an epoch that is stored and not yet in use: wait for who makes it.
		u.keys.change.RLock()
		rec, keys, err = u.record()
		u.keys.change.RUnlock()
	}
	if err != nil {
		return nil, err
	}
	return rec.open(ctx, keys)
}

// record returns the unit's record and the keys of its epoch; nil if there is
// none such.
func (u *Unit) record() (*unitRecord, []*liveKey, error) {
	rec, err := u.keys.unitRecord(numberOf(u.id))
	if err != nil {
		return nil, nil, err
	}
	if rec == nil || rec.ID != u.id {
		return nil, nil, fmt.Errorf("%w: unit %s", efs.ErrNotFound, u.id)
	}
	return rec, u.keys.set().keysOf(rec.Epoch), nil
}

// Live is nil while the unit's key may be used, else why not (efs.ErrForgotten,
// efs.ErrRefused, efs.ErrUnavailable, …).
func (u *Unit) Live() error {
	b, err := u.secret(context.Background())
	secret.Wipe(b)
	return err
}

// Root derives a key of 32 bytes for a purpose; the caller wipes it. It stays
// the same for the life of the unit.
func (u *Unit) Root(purpose string) ([]byte, error) {
	b, err := u.secret(context.Background())
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(b)
	key := kdf.HKDF(b, u.id[:], []byte(unitRootLabel+purpose))
	defer clear(key[:])
	return append(make([]byte, 0, len(key)), key[:]...), nil
}

// Recipients returns what seals one content of the unit: one per stage of the
// newest epoch, in order. Their slots carry fresh tags: for another content
// ask again. The error says that the key is not usable now.
func (u *Unit) Recipients() ([]seal.Recipient, error) {
	return u.Sealing(len(u.keys.set().newest().keys))
}

// Sealing is Recipients for a number of stages.
func (u *Unit) Sealing(stages int) ([]seal.Recipient, error) {
	if stages < 1 || stages > maxStages {
		return nil, fmt.Errorf("%w: a file system has 1 to %d stages", efs.ErrBadInput, maxStages)
	}
	if err := u.Live(); err != nil {
		return nil, err
	}
	recipients := make([]seal.Recipient, stages)
	for i := range recipients {
		tag, err := u.keys.tag(u.id, byte(i))
		if err != nil {
			return nil, err
		}
		recipients[i] = seal.KeyRecipient(unitKEK{u, byte(i), tag})
	}
	return recipients, nil
}

// unitKEK is the key of one stage of a unit, by one of its tags.
type unitKEK struct {
	unit  *Unit
	stage byte
	tag   [16]byte
}

// ID names the key in a slot.
func (k unitKEK) ID() [16]byte { return k.tag }

// Derive is HKDF-SHA256 of the stage's key, which is HKDF-SHA256 of the unit's
// secret.
func (k unitKEK) Derive(salt, info []byte) ([]byte, error) {
	b, err := k.unit.secret(context.Background())
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(b)
	stage := kdf.HKDF(b, k.unit.id[:], append([]byte(unitStageLabel), k.stage))
	defer clear(stage[:])
	out := kdf.HKDF(stage[:], salt, info)
	defer clear(out[:])
	return append(make([]byte, 0, len(out)), out[:]...), nil
}

// unitKEK finds the key of a slot by its tag.
func (k *Keys) unitKEK(tag [16]byte) (seal.KEK, error) {
	u, stage, err := k.byTag(tag)
	switch {
	case errors.Is(err, efs.ErrNotFound), err == nil && stage == noStage:
		return nil, fmt.Errorf("%w: key %s is not of file system %s, or was destroyed", seal.ErrNoKey, efs.ID(tag), k.fs)
	case err != nil:
		return nil, err
	}
	return unitKEK{u, stage, tag}, nil
}
