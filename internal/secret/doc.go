// Package secret keeps keys in memory that is locked against swapping, fenced
// by guard pages, left out of core dumps and wiped after use.
//
// Keys lie in memguard buffers; what must leave them for a moment (a derived
// key in a cipher) is wiped by whoever took it, as far as the standard library
// allows: the key schedules inside crypto/aes are left to the garbage collector.
// Clients do not import this package.
package secret

// reserve takes the first page of the key heap, so that a process that may
// not lock memory learns it at its start.
func reserve() error {
	heap.mu.Lock()
	defer heap.mu.Unlock()
	_, err := heap.roomy()
	return err
}
