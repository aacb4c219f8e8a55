package keyring

import (
	"fmt"
	"slices"

	"github.com/efs-project/efs"
	bolt "go.etcd.io/bbolt"
)

// Concerned returns the file systems with keys that the master key keyID of a
// provider wraps: those that stop, or are lost, with it. A file system whose
// records cannot be read counts as concerned, since nobody can say that it is
// not. In no particular order.
func (r *Keyring) Concerned(provider, keyID string) []efs.ID {
	var concerned []efs.ID
	_ = r.store.view(func(tx *bolt.Tx) error { // fails only when the keyring is closed
		return tx.Bucket(bucketFS).ForEach(func(k, stored []byte) error {
			var fs efs.ID
			if copy(fs[:], k) == len(fs) && wrappedBy(tx, fs, stored, provider, keyID) {
				concerned = append(concerned, fs)
			}
			return nil
		})
	})
	return concerned
}

// wrappedBy reports whether a master key wraps any key of a file system, or
// may do so.
func wrappedBy(tx *bolt.Tx, fs efs.ID, stored []byte, provider, keyID string) bool {
	m, _, _, err := parseManifest(stored)
	if err != nil {
		return true
	}
	ids := slices.Clone(m.Roots)
	for _, e := range m.Epochs {
		ids = append(ids, e.Keys...)
	}
	for _, id := range ids {
		var rec keyRecord
		b := tx.Bucket(bucketKeys).Get(keyPlace(fs, id))
		if b == nil || decode(b, &rec) != nil || rec.Provider == provider && rec.Master == keyID {
			return true
		}
	}
	return false
}

// Invalidate wipes every unwrapped key that the master key keyID of a provider
// wraps, and forgets what the KMS said last about it: whoever needs such a key
// next asks the KMS. It is called when EFS itself changed what may be done
// with the master key, so that the change holds at once and not from the next
// renewal on. An answer of the KMS that is under way is not taken.
func (r *Keyring) Invalidate(provider, keyID string) {
	r.mu.Lock()
	var all []*liveKey
	for _, k := range r.open {
		all = append(all, k.all()...)
	}
	r.mu.Unlock()
	for _, l := range all {
		if rec := l.record(); rec.Provider == provider && rec.Master == keyID {
			l.invalidate()
		}
	}
}

// errChanged is what becomes of an answer that was on its way when the key was
// invalidated.
var errChanged = fmt.Errorf("%w: the master key changed while a key was unwrapped", efs.ErrUnavailable)

// invalidate wipes the key and makes an answer that is on its way one of the
// past.
func (l *liveKey) invalidate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wipe()
	l.failed = nil
	l.asked++
}
