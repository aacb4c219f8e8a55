package seal

import (
	"encoding/binary"
	"fmt"
)

// zstdMagic begins every zstd frame (RFC 8878 §3.1.1).
var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// surveyFrames goes from frame to frame. Where one is lost, its own head tells
// where the next begins, else the frame table, else it is looked for.
func (s *Salvage) surveyFrames() {
	size, end := int64(s.r.header.FrameSize), s.data*s.r.lay.segment+int64(len(s.rest))
	given := int64(0) // plaintext up to here
	for pos := int64(0); pos < end; {
		plain, stored, err := s.frameAt(pos)
		if err == nil && s.read(s.room(stored), pos+frameHeadLen) == nil {
			s.frames = append(s.frames, pos)
			pos, given = pos+frameHeadLen+int64(stored), given+int64(plain)
			if int64(plain) < size {
				break // the last one
			}
			continue
		}
		if err != nil && !s.whole && pos >= s.data*s.r.lay.segment {
			break // what follows in the end block are no frames
		}
		next, exact := pos+frameHeadLen+int64(stored), err == nil
		if !exact {
			next, exact = s.frameEnd(pos)
		}
		if !exact {
			next = s.findFrame(pos, end)
			s.shifted = true
		}
		n := size
		if s.whole && !s.shifted {
			n = max(0, min(size, s.size-given))
		}
		if next >= end && !s.whole {
			break // nothing follows: it is part of the end that is lost
		}
		s.frames = append(s.frames, -1)
		s.lose(given, n, exact)
		pos, given = next, given+n
	}
	if !s.whole || s.shifted {
		s.size = given
	}
}

// room returns a buffer of n bytes.
func (s *Salvage) room(n int) []byte {
	s.packed = grow(s.packed[:0], n)[:n]
	return s.packed
}

// frameAt reads the head of the frame at pos of the data stream.
func (s *Salvage) frameAt(pos int64) (plain, stored int, err error) {
	var head [frameHeadLen]byte
	if err := s.read(head[:], pos); err != nil {
		return 0, 0, err
	}
	return frameHead(head[:], s.r.header.FrameSize)
}

// frameEnd asks the frame table where the next frame ends.
func (s *Salvage) frameEnd(pos int64) (int64, bool) {
	if !s.whole || s.shifted {
		return 0, false
	}
	at := int64(len(s.frames)) * tableEntryLen
	whole := s.r.lay.tableSegments() * s.r.lay.segment
	table := s.r.lay.tableRest(*s.r.end)
	if at < whole {
		seg := s.open(kindTable, s.data+at/s.r.lay.segment)
		if seg.err != nil {
			return 0, false
		}
		at, table = at%s.r.lay.segment, seg.plain
	} else {
		at -= whole
	}
	if at+tableEntryLen > int64(len(table)) {
		return 0, false
	}
	end := int64(binary.BigEndian.Uint64(table[at:]))
	return end, end > pos && end <= s.r.lay.data
}

// findFrame looks behind pos for the next frame, and returns end if there is
// none: a place where a whole head, a body that decompresses to the length it
// names, and another head or the end follow one another.
func (s *Salvage) findFrame(pos, end int64) int64 {
	size := s.r.lay.segment
	for pos++; pos+frameHeadLen < end; pos++ {
		if pos < s.data*size && s.open(kindData, pos/size).err != nil {
			pos = (pos/size+1)*size - 1
			continue
		}
		if s.isFrame(pos, end) == nil {
			return pos
		}
	}
	return end
}

func (s *Salvage) isFrame(pos, end int64) error {
	plain, stored, err := s.frameAt(pos)
	if err != nil {
		return err
	}
	if plain < s.r.header.FrameSize && stored < len(zstdMagic) {
		return errNoFrame
	}
	next := pos + frameHeadLen + int64(stored)
	if stored < plain {
		var m [4]byte
		if err := s.read(m[:min(4, stored)], pos+frameHeadLen); err != nil || string(m[:]) != string(zstdMagic) {
			return errNoFrame
		}
	} else if plain < s.r.header.FrameSize && next != end {
		return errNoFrame // nothing but its length speaks for it
	}
	if err := s.read(s.room(stored), pos+frameHeadLen); err != nil {
		return err
	}
	if _, err := decodeFrame(nil, s.packed, plain); err != nil {
		return err
	}
	if plain < s.r.header.FrameSize || next == end {
		return nil
	}
	if _, _, err := s.frameAt(next); err != nil && next < s.data*s.r.lay.segment && s.open(kindData, next/s.r.lay.segment).err == nil {
		return err // what follows can be read, and is no frame
	}
	return nil
}

var errNoFrame = fmt.Errorf("%w: no frame", ErrFormat)
