package keyring

import "sync/atomic"

// Stats counts since the keyring was opened.
type Stats struct {
	Hits         uint64 // uses of a key that was unwrapped already
	Misses       uint64 // uses that had to wait for its KMS
	Unwrapped    uint64 // keys that KMSs unwrapped, ahead of their end too
	NotUnwrapped uint64 // answers of KMSs that were no key, and waits for none
}

// counts are what Stats tells.
type counts struct{ hits, misses, unwrapped, notUnwrapped atomic.Uint64 }

// Stats returns what was counted.
func (r *Keyring) Stats() Stats {
	c := r.life.counts
	return Stats{c.hits.Load(), c.misses.Load(), c.unwrapped.Load(), c.notUnwrapped.Load()}
}
