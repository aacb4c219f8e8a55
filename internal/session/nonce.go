package session

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"io"
	"sync"
	"time"
)

// Nonces are kept by their holders, not by the server: a nonce is
//
//	random (16) ‖ expiry, Unix seconds (8) ‖ binding (16) ‖ tag (16)
//
// where binding is a MAC over who may use it, and tag a MAC over the rest, both
// under a key of this instance. So saying hello costs the server no memory,
// however often it is said, and nobody's hello pushes out another's. What is
// remembered is the nonces that were used, for as long as they would live.
const nonceSize = 16 + 8 + 16 + 16

// Bounds on used nonces remembered per lifetime: overall (a thousand handshakes
// a second), and for one user with one certificate, so that nobody can use up
// what is there for all.
const (
	maxSpent        = 1 << 16
	maxSpentBinding = 1 << 10
)

type nonces struct {
	key [32]byte
	ttl time.Duration

	mu      sync.Mutex
	turned  time.Time
	current generation
	last    generation
}

// generation is the nonces used within one lifetime. Two generations together
// cover every nonce that could still be alive.
type generation struct {
	spent map[[16]byte]struct{}
	count map[[16]byte]int // by binding, of whoever used them
}

func newGeneration() generation {
	return generation{spent: map[[16]byte]struct{}{}, count: map[[16]byte]int{}}
}

func (n *nonces) init(ttl time.Duration) {
	rand.Read(n.key[:])
	n.ttl = ttl
	n.current, n.last = newGeneration(), newGeneration()
}

// mac is HMAC-SHA-256 over length-prefixed parts, cut to 16 bytes.
func (n *nonces) mac(parts ...string) (out [16]byte) {
	h := hmac.New(sha256.New, n.key[:])
	var size [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		io.WriteString(h, p)
	}
	copy(out[:], h.Sum(nil))
	return out
}

// binding ties a nonce's first part to who asked for it.
func (n *nonces) binding(head []byte, fs, user, cert string) [16]byte {
	return n.mac("binding", string(head), fs, user, cert)
}

// issue makes a nonce for user in fs over cert, and tells when it expires.
func (n *nonces) issue(now time.Time, fs, user, cert string) (string, time.Time) {
	expires := now.Add(n.ttl).Truncate(time.Second)
	b := make([]byte, 24, nonceSize)
	rand.Read(b[:16])
	binary.BigEndian.PutUint64(b[16:], uint64(expires.Unix()))
	bound := n.binding(b[:24], fs, user, cert)
	b = append(b, bound[:]...)
	tag := n.mac("nonce", string(b))
	b = append(b, tag[:]...)
	return base64.RawURLEncoding.EncodeToString(b), expires
}

// spend uses a nonce up, rightly or wrongly, and tells when it expires if it
// was for exactly this user, file system and certificate, and unused. ErrNonce
// otherwise; ErrBusy when no more can be remembered.
func (n *nonces) spend(now time.Time, nonce, fs, user, cert string) (time.Time, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || len(b) != nonceSize || len(nonce) != base64.RawURLEncoding.EncodedLen(nonceSize) {
		return time.Time{}, ErrNonce
	}
	tag := n.mac("nonce", string(b[:40]))
	if subtle.ConstantTimeCompare(tag[:], b[40:]) != 1 {
		return time.Time{}, ErrNonce
	}
	expires := time.Unix(int64(binary.BigEndian.Uint64(b[16:24])), 0).UTC()
	if !now.Before(expires) {
		return time.Time{}, ErrNonce
	}
	if err := n.remember(now, [16]byte(b[:16]), n.mac("who", fs, user, cert)); err != nil {
		return time.Time{}, err
	}
	want := n.binding(b[:24], fs, user, cert)
	if subtle.ConstantTimeCompare(want[:], b[24:40]) != 1 {
		return time.Time{}, ErrNonce
	}
	return expires, nil
}

func (n *nonces) remember(now time.Time, id, who [16]byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if since := now.Sub(n.turned); since >= n.ttl {
		n.last, n.current, n.turned = n.current, newGeneration(), now
		if since >= 2*n.ttl {
			n.last = newGeneration()
		}
	}
	if _, used := n.current.spent[id]; used {
		return ErrNonce
	}
	if _, used := n.last.spent[id]; used {
		return ErrNonce
	}
	if len(n.current.spent) >= maxSpent || n.current.count[who] >= maxSpentBinding {
		return ErrBusy
	}
	n.current.spent[id] = struct{}{}
	n.current.count[who]++
	return nil
}
