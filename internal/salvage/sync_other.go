//go:build !linux

package salvage

// syncTree leaves it to the system.
func syncTree(string) error { return nil }
