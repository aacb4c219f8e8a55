package record

import (
	"fmt"

	"github.com/efs-project/efs"
)

// padMark ends the plaintext; zeros follow it (ISO/IEC 7816-4).
const padMark = 0x80

// padSizes are the lengths, in bytes, that short plaintexts are padded to: the
// first fits what points from a file id to its entry, the next few an entry
// with a name of usual length. Above them each size is twice the last.
var padSizes = [...]int{48, 112, 176, 240, 304, 432, 560, 816, 1072}

// paddedSize returns the length that a plaintext of n bytes and its mark are
// padded to.
func paddedSize(n int) int {
	n++
	for _, size := range padSizes {
		if n <= size {
			return size
		}
	}
	size := 2048
	for size < n {
		size *= 2
	}
	return size
}

func unpad(b []byte) ([]byte, error) {
	end := len(b) - 1
	for end >= 0 && b[end] == 0 {
		end--
	}
	if end < 0 || b[end] != padMark {
		return nil, fmt.Errorf("%w: index record without an end", efs.ErrDamaged)
	}
	return b[:end], nil
}
