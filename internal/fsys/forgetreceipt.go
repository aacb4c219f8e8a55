package fsys

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/receipt"
)

const metaReceipt = 'R' // ‖ receipt id: a signed receipt

func receiptKey(id efs.ID) []byte { return append([]byte{metaReceipt}, id[:]...) }

// ReceiptKey signs receipts.
type ReceiptKey func() (ed25519.PrivateKey, error)

// notReached is what forgetting cannot reach; every receipt says so.
var notReached = []string{
	"copies of the key store that were made before, until they expire (key_copies)",
	"archives and documents that were sealed for a passphrase or for a person's key",
	"copies that clients made, and copies elsewhere in the file system",
	"backups from before the directory became an erasure unit, where what was in it was sealed with the keys of the file system",
}

// endForget is the last step.
func (fs *FS) endForget(ctx context.Context, id efs.ID, job *forgetting) ([]byte, error) {
	key, err := fs.o.SignReceipt()
	if err != nil {
		return nil, fmt.Errorf("key of receipts: %w", err)
	}
	defer clear(key)
	copies, err := fs.keyCopies()
	if err != nil {
		return nil, err
	}
	document, err := receipt.Sign(&receipt.Receipt{
		Format: receipt.Format, ID: id, FS: fs.o.ID, Directory: job.Dir, Units: job.Units, Subject: job.Subject,
		By: job.User, Reason: job.Reason,
		Requested: time.UnixMicro(job.Begun).UTC(), Destroyed: fs.o.Clock().UTC().Truncate(time.Microsecond),
		Files: job.Files, Directories: job.Dirs, Bytes: job.Bytes, Outside: job.Outside, Damaged: job.Damaged,
		KeyCopies: copies, NotReached: notReached,
	}, key)
	if err != nil {
		return nil, err
	}
	t := fs.begin(Who{User: job.User})
	t.delete(efs.SpaceMeta, forgetKey(id))
	t.put(efs.SpaceMeta, receiptKey(id), document)
	for _, u := range job.Units {
		t.delete(efs.SpaceMeta, unitKey(u))
	}
	if !job.Dir.IsZero() {
		t.change(&efs.Change{Op: efs.OpForgotten, Before: &efs.Entry{File: job.Dir, Kind: efs.KindDir}})
	}
	_, err = t.commit(ctx)
	return document, err
}

// keyCopies says what is known of copies of the key store.
func (fs *FS) keyCopies() (c receipt.KeyCopies, err error) {
	if fs.o.KeyCopies == nil {
		return c, nil
	}
	all, err := fs.o.KeyCopies()
	if err != nil {
		return c, fmt.Errorf("copies of the key store: %w", err)
	}
	for _, expires := range all {
		c.Known++
		c.Never = c.Never || expires.IsZero()
		if expires.After(c.Last) {
			c.Last = expires.UTC()
		}
	}
	return c, nil
}

// Receipts returns the signed receipts of all that was forgotten, oldest first.
func (fs *FS) Receipts(ctx context.Context) (documents [][]byte, err error) {
	if err := fs.ready(); err != nil {
		return nil, err
	}
	err = fs.scan(ctx, efs.SpaceMeta, []byte{metaReceipt}, scanPage, func(r *efs.Record) error {
		var b []byte
		if err := fs.open(efs.SpaceMeta, r.Key, r.Sealed, &b); err != nil {
			return fmt.Errorf("receipt: %w", err)
		}
		documents = append(documents, b)
		return nil
	})
	return documents, err
}
