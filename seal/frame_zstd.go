package seal

import "github.com/klauspost/compress/zstd"

// The block header of zstd, RFC 8878 §3.1.1.2: 3 bytes, little endian.
const (
	zstdBlockHead = 3
	zstdBlockRLE  = 1 // a type: one byte, repeated
	zstdChecksum  = 4 // bytes of checksum at the end of a frame that has one
)

// isOneFrame says whether body is exactly one zstd frame, by the lengths of its
// blocks. The decoder would take several, and skippable ones among them, as one
// stream; other readers of the format do not.
func isOneFrame(body []byte) bool {
	var h zstd.Header
	if h.Decode(body) != nil || h.Skippable {
		return false
	}
	b := body[h.HeaderSize:]
	for last := false; !last; {
		if len(b) < zstdBlockHead {
			return false
		}
		head := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
		last = head&1 != 0
		size := head >> 3
		if head>>1&3 == zstdBlockRLE {
			size = 1
		}
		if len(b) < zstdBlockHead+size {
			return false
		}
		b = b[zstdBlockHead+size:]
	}
	if h.HasCheckSum {
		return len(b) == zstdChecksum
	}
	return len(b) == 0
}
