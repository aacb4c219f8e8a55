package session

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/efs-project/efs"
)

// signingKeys are the keys that tokens are signed with. One signs; the others
// verify until the last token that they signed has expired.
type signingKeys struct {
	mu   sync.RWMutex
	id   string                // of the key that signs
	keys map[string]signingKey // by id
}

type signingKey struct {
	key   []byte
	until int64 // Unix seconds; 0: without end
}

func (k *signingKeys) init(keys [][]byte) error {
	k.keys = map[string]signingKey{}
	for i, key := range keys {
		if err := checkKey(key); err != nil {
			return fmt.Errorf("session manager: %w", err)
		}
		id := keyID(key)
		k.keys[id] = signingKey{key: key}
		if i == 0 {
			k.id = id
		}
	}
	return nil
}

func checkKey(key []byte) error {
	if len(key) < KeySize {
		return fmt.Errorf("signing key shorter than %d bytes: %w", KeySize, efs.ErrBadInput)
	}
	return nil
}

// get returns a copy of a key, if it is there and may be used now.
func (k *signingKeys) get(id string, now int64) ([]byte, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	key, ok := k.keys[id]
	if !ok || key.until != 0 && now >= key.until {
		return nil, false
	}
	return bytes.Clone(key.key), true
}

// signer is the id of the key that signs.
func (k *signingKeys) signer() string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.id
}

// rotate makes key the one that signs; the one before verifies until then.
func (k *signingKeys) rotate(key []byte, until int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	id := keyID(key)
	if old := k.keys[k.id]; k.id != id {
		old.until = until
		k.keys[k.id] = old
	}
	k.id = id
	k.keys[id] = signingKey{key: bytes.Clone(key)}
}

// expire wipes the keys whose time is over.
func (k *signingKeys) expire(now int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, key := range k.keys {
		if key.until != 0 && now >= key.until {
			clear(key.key)
			delete(k.keys, id)
		}
	}
}

// Rotate makes key, of at least KeySize bytes, the one that signs from now on.
// Sessions go on: the key before verifies until the tokens that it signed have
// expired, and is wiped then. efs.ErrBadInput.
func (m *Manager) Rotate(key []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	now := m.cfg.Clock()
	m.mu.Lock() // no token is being signed under the old key
	defer m.mu.Unlock()
	m.keys.expire(now.Unix())
	m.keys.rotate(key, now.Unix()+int64(m.cfg.TTL/time.Second)+1)
	return nil
}

var errKeyGone = errors.New("the key that signed it is gone")
