//go:build !linux

// Package fsync makes what was written to a file durable.
package fsync

import "os"

// Data makes the contents of a file durable. An error is final: what was
// written may be lost, whatever a later call says.
func Data(f *os.File) error { return f.Sync() }
