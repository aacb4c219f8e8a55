package keyring

import (
	"bytes"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// bucketAudit holds the newest head of the audit log, which is signed by the
// log's own key and no secret.
var (
	bucketAudit = []byte("audit")
	auditHead   = []byte("head")
)

// PutAuditHead keeps the newest head of the audit log, so that a log that is
// put back without this store is noticed.
func (r *Keyring) PutAuditHead(head []byte) error {
	err := r.store.update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucketAudit)
		if err != nil {
			return err
		}
		return b.Put(auditHead, head)
	})
	if err != nil {
		return fmt.Errorf("keeping the head of the audit log: %w", err)
	}
	return nil
}

// AuditHead returns the head that was kept last; nil if none was.
func (r *Keyring) AuditHead() (head []byte, err error) {
	err = r.store.view(func(tx *bolt.Tx) error {
		if b := tx.Bucket(bucketAudit); b != nil {
			head = bytes.Clone(b.Get(auditHead))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the head of the audit log: %w", err)
	}
	return head, nil
}
