package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/starter"
)

// receiptKeyName is the server secret that signs receipts of what was
// forgotten: the seed of an Ed25519 key.
const receiptKeyName = "receipts"

var makingReceiptKey sync.Mutex

// receiptKey returns the key that signs receipts, made when it is first needed.
// The caller clears it.
func receiptKey(box *starter.Box) (ed25519.PrivateKey, error) {
	makingReceiptKey.Lock()
	defer makingReceiptKey.Unlock()
	seed, err := box.Get(receiptKeyName)
	if errors.Is(err, efs.ErrNotFound) {
		seed = make([]byte, ed25519.SeedSize)
		_, _ = rand.Read(seed) // never fails: crypto/rand ends the program instead
		err = box.Put(receiptKeyName, seed)
	}
	defer clear(seed)
	if err == nil && len(seed) != ed25519.SeedSize {
		err = fmt.Errorf("%w: %d bytes", efs.ErrDamaged, len(seed))
	}
	if err != nil {
		return nil, fmt.Errorf("the key that signs receipts: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// ReceiptKey returns the public key that receipts of what was forgotten are
// verified with.
func (n *Node) ReceiptKey() (ed25519.PublicKey, error) {
	if err := n.Serving(); err != nil {
		return nil, err
	}
	key, err := receiptKey(n.secrets().box)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return append(ed25519.PublicKey(nil), key.Public().(ed25519.PublicKey)...), nil
}

// signReceipts is how a file system signs its receipts.
func (n *Node) signReceipts() (ed25519.PrivateKey, error) {
	v := n.secrets()
	if v == nil {
		return nil, efs.ErrSealed
	}
	return receiptKey(v.box)
}

// keyCopies tells when the backups of the key store expire that the server
// knows of.
func (n *Node) keyCopies() (expire []time.Time, err error) {
	v := n.secrets()
	if v == nil {
		return nil, efs.ErrSealed
	}
	all, err := v.ring.Copies()
	for _, c := range all {
		expire = append(expire, c.Expires)
	}
	return expire, err
}
