package wipe

// Stack overwrites what functions that the caller called before have left on
// the stack below it: copies of keys in their variables and in registers that
// were saved there. It reaches 4 KiB down, which is further than the
// derivations of keys go. What a growing stack left behind where it was before
// is not reached.
//
//go:noinline
func Stack() {
	var below [4 << 10]byte
	keep(&below)
}

// keep makes the compiler believe that the bytes are used.
//
//go:noinline
func keep(b *[4 << 10]byte) { clear(b[:]) }
