package seal

import (
	"slices"
	"sync"
)

// Buffers for runs of segments are used again: a run of 1 MiB for every
// request would keep the collector busy. Each class has room for the tags of
// its segments, and an allocation of its own for larger asks.
var bufferPools [len(bufferClasses)]sync.Pool

var bufferClasses = [...]int{8 << 10, 32 << 10, 128 << 10, 512 << 10, 1 << 20, 2 << 20}

func classSize(i int) int { return bufferClasses[i] + bufferClasses[i]/4 }

// getBuffer returns a buffer of length n. What it holds is undefined.
func getBuffer(n int) *[]byte {
	for i := range bufferClasses {
		if n > classSize(i) {
			continue
		}
		b, ok := bufferPools[i].Get().(*[]byte)
		if !ok {
			s := make([]byte, classSize(i))
			b = &s
		}
		*b = (*b)[:n]
		return b
	}
	s := make([]byte, n)
	return &s
}

// putBuffer gives a buffer back. The caller has wiped what must not stay.
func putBuffer(b *[]byte) {
	for i := range bufferClasses {
		if cap(*b) == classSize(i) {
			bufferPools[i].Put(b)
			return
		}
	}
}

// grow makes room for n more bytes.
func grow(b []byte, n int) []byte { return slices.Grow(b, n) }
