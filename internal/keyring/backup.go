package keyring

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/detcbor"
	"github.com/efs-project/efs/seal"
	bolt "go.etcd.io/bbolt"
)

const (
	backupType = "application/vnd.efs.keys"
	expiresKey = "expires" // in the recovery record: RFC 3339
)

// Copy is a backup of the key store that was made and has not expired: what is
// destroyed meanwhile may be in it.
type Copy struct {
	ID      efs.ID    `json:"id"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
}

type copyRecord struct {
	Format  int    `cbor:"1,keyasint"`
	ID      efs.ID `cbor:"2,keyasint"`
	Created int64  `cbor:"3,keyasint"` // Unix time, microseconds
	Expires int64  `cbor:"4,keyasint"` // Unix time, microseconds
}

// Backup writes a consistent copy of the key store to w, as a sealed file
// (docs/sealed-file.md) of the root under kek. It is registered first, so that
// no copy exists that Copies does not tell of. After expires nothing restores
// it. efs.ErrBadInput if expires is not ahead.
func (r *Keyring) Backup(w io.Writer, root efs.ID, kek seal.KEK, expires time.Time) (Copy, error) {
	return r.BackupWith(w, root, kek, expires, nil)
}

// BackupWith is Backup with what a server needs to begin with the copy: its own
// secrets, sealed. Restore passes over them.
func (r *Keyring) BackupWith(w io.Writer, root efs.ID, kek seal.KEK, expires time.Time, server []byte) (Copy, error) {
	now := r.life.now()
	if !expires.After(now) {
		return Copy{}, fmt.Errorf("%w: a backup of keys expires after it is made", efs.ErrBadInput)
	}
	rec := copyRecord{recordFormat, efs.NewID(), now.UnixMicro(), expires.UnixMicro()}
	err := r.store.finishScrub()
	if err == nil {
		err = r.store.update(func(tx *bolt.Tx) error { return putCopy(tx, rec, now) })
	}
	if err == nil && server != nil {
		err = writeServerPart(w, server)
	}
	if err == nil {
		err = r.store.view(func(tx *bolt.Tx) error { return sealStore(w, tx, root, kek, rec, server) })
	}
	if err != nil {
		return Copy{}, fmt.Errorf("backing the key store up: %w", err)
	}
	return rec.info(), nil
}

func (c copyRecord) info() Copy {
	return Copy{c.ID, time.UnixMicro(c.Created).UTC(), time.UnixMicro(c.Expires).UTC()}
}

// putCopy registers a copy and forgets those that have expired.
func putCopy(tx *bolt.Tx, rec copyRecord, now time.Time) error {
	b := tx.Bucket(bucketCopies)
	var expired []efs.ID
	err := eachCopy(tx, func(c copyRecord) error {
		if c.Expires <= now.UnixMicro() {
			expired = append(expired, c.ID)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range expired {
		if err := b.Delete(id[:]); err != nil {
			return err
		}
	}
	stored, err := detcbor.Marshal(rec)
	if err != nil {
		return err
	}
	return b.Put(rec.ID[:], stored)
}

func eachCopy(tx *bolt.Tx, f func(copyRecord) error) error {
	b := tx.Bucket(bucketCopies)
	if b == nil { // a store of an older format
		return nil
	}
	return b.ForEach(func(_, stored []byte) error {
		var c copyRecord
		if err := decode(stored, &c); err != nil {
			return err
		}
		return f(c)
	})
}

// Copies tells of the backups of the key store that have not expired, oldest
// first: those that Backup made. Other copies of the file it cannot know.
func (r *Keyring) Copies() ([]Copy, error) {
	var all []Copy
	now := r.life.now().UnixMicro()
	err := r.store.view(func(tx *bolt.Tx) error {
		return eachCopy(tx, func(c copyRecord) error {
			if c.Expires > now {
				all = append(all, c.info())
			}
			return nil
		})
	})
	slices.SortFunc(all, func(a, b Copy) int { return a.Created.Compare(b.Created) })
	return all, err
}

// sealStore writes what tx sees.
func sealStore(w io.Writer, tx *bolt.Tx, root efs.ID, kek seal.KEK, rec copyRecord, server []byte) error {
	meta := map[string]string{expiresKey: rec.info().Expires.Format(time.RFC3339Nano)}
	if server != nil {
		meta[serverKey] = serverSum(server)
	}
	sealed, err := seal.NewWriter(w, &seal.Params{
		FS: root, Content: rec.ID, Compression: seal.CompressZstd,
		Stages: []seal.Stage{{Suite: seal.AES256GCM, Recipients: []seal.Recipient{seal.KeyRecipient(kek)}}},
	})
	if err != nil {
		return err
	}
	if _, err := tx.WriteTo(sealed); err != nil {
		sealed.Abort()
		return err
	}
	_, err = sealed.Close(seal.Recovery{
		Type: backupType, Created: rec.Created, Meta: meta,
	})
	return err
}

// openBackup writes the key store that src holds to the file at path.
func openBackup(path string, src io.Reader, root efs.ID, kek seal.KEK) (c Copy, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return readBackup(f, src, root, kek)
}

// readBackup writes the key store that src holds to w.
func readBackup(w io.Writer, src io.Reader, root efs.ID, kek seal.KEK) (c Copy, err error) {
	find := func(id [16]byte) (seal.KEK, error) {
		if id != kek.ID() {
			return nil, fmt.Errorf("%w: sealed under another key", seal.ErrNoKey)
		}
		return kek, nil
	}
	server, sealed, err := ServerPart(src)
	if err != nil {
		return c, err
	}
	r, err := seal.NewReader(sealed, &seal.Open{Any: true, Identities: []seal.Identity{seal.KeyIdentity(find)}, Size: -1, PlainSize: -1, CheckDigest: true})
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if r.Header().FS != root {
		return c, fmt.Errorf("%w: it is of the root %s", efs.ErrWrongKey, efs.ID(r.Header().FS))
	}
	if _, err = io.Copy(w, r); err != nil {
		return c, err
	}
	about := r.Recovery()
	if about.Type != backupType {
		return c, fmt.Errorf("%w: it is a sealed file, and no backup of keys", efs.ErrBadInput)
	}
	if err := checkServerPart(server, about.Meta[serverKey]); err != nil {
		return c, err
	}
	expires, err := time.Parse(time.RFC3339Nano, about.Meta[expiresKey])
	if err != nil {
		return c, fmt.Errorf("%w: it does not tell when it expires", efs.ErrDamaged)
	}
	return Copy{r.Header().Content, time.UnixMicro(about.Created).UTC(), expires}, nil
}
