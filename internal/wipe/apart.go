package wipe

// Apart calls f on a stack of its own and overwrites what f left there: for
// functions that keep a secret in variables that nobody else reaches to wipe,
// such as BLAKE2b its last block. f must need less than 8 KiB of stack.
//
// Stack alone is not enough for these: when the garbage collector runs under f,
// it may move the stack to a smaller place, and leave the copy of what f's callees
// left in the old one, which nobody reaches any more. It moves no stack of
// which a quarter is in use (runtime.shrinkstack), so half of this one is.
func Apart(f func()) {
	done := make(chan any)
	go func() {
		defer func() { done <- recover() }()
		roomy(f)
	}()
	if p := <-done; p != nil {
		panic(p)
	}
}

//go:noinline
func roomy(f func()) {
	var ballast [16 << 10]byte // the stack grows to 32 KiB here, before f
	touch(&ballast)
	defer below()
	f()
	touch(&ballast)
}

//go:noinline
func touch(b *[16 << 10]byte) { b[0]++ }

// below overwrites the 8 KiB of stack under its caller.
//
//go:noinline
func below() {
	var under [8 << 10]byte
	clean(&under)
}

//go:noinline
func clean(b *[8 << 10]byte) { clear(b[:]) }
