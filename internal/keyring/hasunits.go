package keyring

import (
	"bytes"

	bolt "go.etcd.io/bbolt"
)

// HasUnits reports whether the file system has, or had, any unit key.
func (k *Keys) HasUnits() (has bool, err error) {
	err = k.ring.store.view(func(tx *bolt.Tx) error {
		place, _ := tx.Bucket(bucketUnits).Cursor().Seek(k.fs[:])
		has = bytes.HasPrefix(place, k.fs[:])
		return nil
	})
	return has, err
}
