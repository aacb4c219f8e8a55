package fsys

import "sync"

// Buffers hold plaintext: they are wiped when they are given back.
var buffers sync.Pool

// getBuffer returns a buffer of n bytes.
func getBuffer(n int) *[]byte {
	if b, ok := buffers.Get().(*[]byte); ok && cap(*b) >= n {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n)
	return &b
}

func putBuffer(b *[]byte) {
	clear((*b)[:cap(*b)])
	buffers.Put(b)
}
