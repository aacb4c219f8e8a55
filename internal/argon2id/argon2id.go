// Package argon2id is Argon2id (RFC 9106), version 0x13, of a passphrase that is
// not to stay in memory.
//
// It is golang.org/x/crypto/argon2 but for the first step, the hash of all
// inputs: there, the state of BLAKE2b keeps the passphrase in a buffer on the
// heap that nobody can reach, and that outlives the call by minutes or for
// ever.
package argon2id

import (
	"encoding/binary"
	"unsafe" // for go:linkname

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/blake2b"

	"github.com/efs-project/efs/internal/wipe"
)

// Of RFC 9106, section 3.2.
const (
	typeID    = 2
	blockSize = 1024
	lanePiece = 4 // slices of a lane
)

type block [blockSize / 8]uint64

// The steps of x/crypto/argon2 after the first. It does not export them; the
// linker finds them, or refuses to link should they be gone one day.

//go:linkname initBlocks golang.org/x/crypto/argon2.initBlocks
func initBlocks(h0 *[blake2b.Size + 8]byte, memory, threads uint32) []block

//go:linkname processBlocks golang.org/x/crypto/argon2.processBlocks
func processBlocks(b []block, time, memory, threads uint32, mode int)

//go:linkname extractKey golang.org/x/crypto/argon2.extractKey
func extractKey(b []block, memory, threads, keyLen uint32) []byte

var (
	_ = argon2.Version
	_ unsafe.Pointer
)

// Key stretches pass to keyLen bytes with time passes (at least 1) over memory
// KiB by threads lanes (at least 1), as argon2.IDKey does, and leaves nothing
// of pass or of what was computed behind. The caller wipes pass and the key.
func Key(pass, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte {
	lanes := uint32(threads)
	var h0 [blake2b.Size + 8]byte
	defer clear(h0[:])
	wipe.Apart(func() { first(&h0, pass, salt, time, memory, lanes, keyLen) })
	memory = max(memory/(lanePiece*lanes), 2) * lanePiece * lanes
	b := initBlocks(&h0, memory, lanes)
	defer clear(b)
	processBlocks(b, time, memory, lanes, typeID)
	return extractKey(b, memory, lanes, keyLen)
}

// first is H₀: BLAKE2b-512 over all parameters and inputs.
func first(h0 *[blake2b.Size + 8]byte, pass, salt []byte, time, memory, lanes, keyLen uint32) {
	h, err := blake2b.New512(nil)
	if err != nil {
		panic(err) // only keys of more than 64 bytes are refused
	}
	defer wipe.Object(h)
	number := func(n uint32) { h.Write(binary.LittleEndian.AppendUint32(make([]byte, 0, 4), n)) }
	for _, n := range []uint32{lanes, keyLen, memory, time, argon2.Version, typeID} {
		number(n)
	}
	for _, b := range [][]byte{pass, salt, nil, nil} {
		number(uint32(len(b)))
		h.Write(b)
	}
	h.Sum(h0[:0])
}
