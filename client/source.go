package client

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math"
	"sync"
	"sync/atomic"
)

var (
	errSuperseded    = errors.New("the request was made anew")
	errNotReplayable = errors.New("the body was read from already and cannot be read again")
)

// source is the body of a request that may have to be sent more than once. It
// hashes what is read, so that the server's confirmation can be compared.
type source struct {
	r        io.Reader
	seek     io.Seeker // nil where the body cannot be read again
	start    int64     // where it began
	size     int64     // bytes, -1 unknown
	progress func(delta int64)

	touched atomic.Bool // something was, or is being, read
	mu      sync.Mutex
	attempt int
	read    int64
	hash    hash.Hash
}

// newSource finds out whether r can be read again, and how long it is; size
// is what the caller knows, negative for nothing.
func newSource(r io.Reader, size int64, progress func(int64)) (*source, error) {
	if progress == nil {
		progress = func(int64) {}
	}
	s := &source{r: r, size: size, hash: sha256.New(), progress: progress}
	seek, ok := r.(io.Seeker)
	if !ok {
		return s, nil
	}
	start, err := seek.Seek(0, io.SeekCurrent)
	if err != nil {
		return s, nil // a pipe: a Seeker by type only
	}
	if size < 0 {
		end, err := seek.Seek(0, io.SeekEnd)
		if err != nil {
			return nil, err
		}
		if _, err := seek.Seek(start, io.SeekStart); err != nil {
			return nil, err
		}
		s.size = max(end-start, 0)
	}
	s.seek, s.start = seek, start
	return s, nil
}

// replayable reports whether another attempt can be made.
func (s *source) replayable() bool { return s.seek != nil || !s.touched.Load() }

// begin returns the body from its start. What an earlier attempt still reads
// is cut off.
func (s *source) begin() (io.ReadCloser, error) {
	if !s.replayable() {
		return nil, errNotReplayable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempt++
	if s.seek != nil && s.attempt > 1 {
		if _, err := s.seek.Seek(s.start, io.SeekStart); err != nil {
			return nil, err
		}
		s.progress(-s.read)
		s.read = 0
		s.hash.Reset()
	}
	left := int64(math.MaxInt64)
	if s.size >= 0 {
		left = s.size
	}
	return &attempt{s: s, n: s.attempt, left: left}, nil
}

// sum returns how much the last attempt read, and its SHA-256.
func (s *source) sum() (int64, []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read, s.hash.Sum(nil)
}

// attempt is one reading of a source. It reads no further than the declared
// size, so that a file that grows meanwhile is stored as it was announced.
type attempt struct {
	s    *source
	n    int
	left int64
}

func (a *attempt) Read(p []byte) (int, error) {
	a.s.touched.Store(true)
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.n != a.s.attempt {
		return 0, errSuperseded
	}
	if a.left == 0 {
		return 0, io.EOF
	}
	n, err := a.s.r.Read(p[:min(int64(len(p)), a.left)])
	a.left -= int64(n)
	a.s.read += int64(n)
	a.s.hash.Write(p[:n])
	a.s.progress(int64(n))
	return n, err
}

// Close does nothing: the body is the caller's.
func (a *attempt) Close() error { return nil }
