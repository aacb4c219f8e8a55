package syncstate

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/fxamacker/cbor/v2"
)

// version is that of the file's form.
const version = 1

// header is the first frame.
type header struct {
	Version int    `cbor:"1,keyasint"`
	A       string `cbor:"2,keyasint"`
	B       string `cbor:"3,keyasint"`
	ID      string `cbor:"4,keyasint,omitempty"` // what had these names
}

// done, as a path, is a record of its own: a run came to its end.
const done = ""

const (
	frameHead = 8        // length and CRC-32C, big endian
	frameGoal = 64 << 10 // a frame is ended when it is this long, bytes
	maxFrame  = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errNewer = errors.New("it was written by a newer version of this program: update it, or use --no-state")

// load reads the file to its last whole frame, and cuts off what follows. What
// that told nobody knows, nor whether a run had come to its end: from then on what
// is not remembered counts as new, so that nothing is overwritten or deleted as
// if there had been no last time.
func (s *State) load() error {
	in := bufio.NewReaderSize(s.file, 1<<20)
	var good int64
	altered := false
	for first := true; ; first = false {
		frame, err := readFrame(in)
		if err != nil {
			altered = err != io.EOF
			break // the end, or what a crash or a bad disk left of one
		}
		if first {
			var h header
			if err := cbor.Unmarshal(frame, &h); err != nil || h.Version > version {
				return errNewer
			}
			if h.ID != "" && s.id != "" && h.ID != s.id {
				altered = true // nothing of it counts
				break
			}
			if s.anew = h.ID == "" && s.id != ""; s.id == "" {
				s.id = h.ID
			}
		} else if err := s.take(frame); err != nil {
			altered = true
			break
		}
		good += frameHead + int64(len(frame))
	}
	if err := s.file.Truncate(good); err != nil {
		return err
	}
	if _, err := s.file.Seek(good, io.SeekStart); err != nil {
		return err
	}
	if good == 0 {
		h, err := encoding.Marshal(header{version, s.pair[0], s.pair[1], s.id})
		if err == nil {
			err = writeFrame(s.file, h)
		}
		if err != nil {
			return err
		}
	}
	if !altered || s.known {
		return nil
	}
	s.known = true
	return s.write(s.file, []string{done})
}

func readFrame(in *bufio.Reader) ([]byte, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return nil, io.ErrUnexpectedEOF
	}
	frame := make([]byte, n)
	if _, err := io.ReadFull(in, frame); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	if crc32.Checksum(frame, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
		return nil, io.ErrUnexpectedEOF
	}
	return frame, nil
}

func writeFrame(w io.Writer, frame []byte) error {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, frameHead+len(frame)), uint32(len(frame)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(frame, castagnoli))
	_, err := w.Write(append(b, frame...))
	return err
}

// take puts the records of a frame in the place of those before.
func (s *State) take(frame []byte) error {
	for len(frame) > 0 {
		var r Record
		rest, err := cbor.UnmarshalFirst(frame, &r)
		if err != nil {
			return err
		}
		frame = rest
		s.written++
		switch {
		case r.Path == done:
			s.known = true
		case r.empty():
			delete(s.records, r.Path)
		default:
			s.records[r.Path] = &r
		}
	}
	return nil
}

// Flush writes what has changed since the last time. It is not synced: what a
// crash of the machine takes is compared anew.
func (s *State) Flush() error {
	if s.file == nil || len(s.dirty) == 0 {
		clear(s.dirty)
		return nil
	}
	paths := make([]string, 0, len(s.dirty))
	for p := range s.dirty {
		paths = append(paths, p)
	}
	if err := s.write(s.file, paths); err != nil {
		return fmt.Errorf("writing %s: %w", s.path, err)
	}
	s.written += len(paths)
	clear(s.dirty)
	return nil
}

// write appends the records of paths in frames.
func (s *State) write(w io.Writer, paths []string) error {
	var frame []byte
	for _, p := range paths {
		r := s.records[p]
		if r == nil {
			r = &Record{Path: p}
		}
		b, err := encoding.Marshal(r)
		if err != nil {
			return err
		}
		if frame = append(frame, b...); len(frame) >= frameGoal {
			if err := writeFrame(w, frame); err != nil {
				return err
			}
			frame = frame[:0]
		}
	}
	if len(frame) == 0 {
		return nil
	}
	return writeFrame(w, frame)
}

// Finish flushes, and notes that a run came to its end: from now on, what is
// not remembered is new. A file of mostly superseded records is written anew.
func (s *State) Finish() error {
	if !s.known {
		s.known = true
		s.dirty[done] = true
	}
	if err := s.Flush(); err != nil || s.file == nil {
		return err
	}
	if s.written < 2*len(s.records)+1000 && !s.anew {
		return nil
	}
	s.anew = false
	if err := s.compact(); err != nil {
		return fmt.Errorf("writing %s: %w", s.path, err)
	}
	return nil
}

// compact writes the state to a new file that takes the old one's place.
func (s *State) compact() error {
	f, err := os.CreateTemp(filepath.Dir(s.path), ".state-") // of mode 0600
	if err != nil {
		return err
	}
	paths := append(make([]string, 0, len(s.records)+1), done)
	for p := range s.records {
		paths = append(paths, p)
	}
	h, err := encoding.Marshal(header{version, s.pair[0], s.pair[1], s.id})
	if err == nil {
		err = writeFrame(f, h)
	}
	if err == nil {
		err = s.write(f, paths)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = lock(f) // before it has the name by which others find it
	}
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		_ = f.Close()           // given up
		_ = os.Remove(f.Name()) // best effort
		return err
	}
	_ = s.file.Close() // superseded, and all of it is in the new one
	s.file, s.written = f, len(paths)
	return nil
}
