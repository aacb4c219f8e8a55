package fsys

import (
	"context"
	"time"

	"github.com/efs-project/efs"
)

// metaBackedUp is the key in SpaceMeta of the newest backup.
const metaBackedUp = 'b'

// BackedUp is what is known of the newest backup of a file system.
type BackedUp struct {
	Time int64  `cbor:"1,keyasint"` // when it was begun; Unix time, microseconds
	Seq  uint64 `cbor:"2,keyasint"` // of the last change in it
}

// NoteBackup notes, durably, that a backup was made. It is no change.
func (fs *FS) NoteBackup(ctx context.Context, begun time.Time, seq uint64) error {
	t := fs.begin(Who{})
	t.put(efs.SpaceMeta, []byte{metaBackedUp}, BackedUp{begun.UnixMicro(), seq})
	_, err := t.commit(ctx)
	return err
}

// LastBackup tells of the newest backup; Time is 0 if there is none.
func (fs *FS) LastBackup(ctx context.Context) (b BackedUp, err error) {
	key := []byte{metaBackedUp}
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceMeta, Bytes: key})
	if err != nil || recs[0].Version == 0 {
		return b, err
	}
	return b, fs.open(efs.SpaceMeta, key, recs[0].Sealed, &b)
}
