//go:build !linux

package bolt

import "os"

// allocate gives a range of a file blocks of its own and makes the file at
// least as long as its end. What the range held stays.
func allocate(f *os.File, off, n int64) error { return fillEnd(f, off, n) }
