//go:build !linux

package secret

// Harden forbids core dumps where memguard can and locks a first page for
// keys. Servers run on Linux, where it does more; elsewhere only tools that
// open sealed data run.
func Harden() error { return reserve() }

// tryLock has nothing to ask here: memguard finds out.
func tryLock(int) error { return nil }
