// Package syncstate keeps, between two runs, what a comparison of two trees
// needs to remember: what both sides were when they were last in step, the
// digests of local files that have not been touched since they were read, and
// transfers that were cut off.
//
// A state is a file per pair of trees: a header and frames of records, each
// frame with its length and a CRC-32C (RFC 3720). It grows at its end while a
// run goes on, and is written anew when much in it is superseded. What a crash
// takes from its end costs another comparison, nothing else: every frame tells
// only what was confirmed before it was written.
//
// It names files and holds their digests, never what is in them.
package syncstate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fxamacker/cbor/v2"
)

// Record is what is remembered of a path. A nil part is not known.
type Record struct {
	_      struct{} `cbor:",toarray"`
	Path   string
	Base   *Base
	Read   *Read
	Upload *Upload
	Part   string // name, beside the target, of what has arrived of a local file
}

// empty reports whether nothing is left to be remembered.
func (r *Record) empty() bool {
	return r.Base == nil && r.Read == nil && r.Upload == nil && r.Part == ""
}

// Base is what both sides were when they were last in step. A and B are their
// versions then, in the order of the pair.
type Base struct {
	_      struct{} `cbor:",toarray"`
	Kind   uint8    // as in treesync
	Size   int64    // bytes
	Digest []byte   // SHA-256; empty: not known
	Target string   // of a symbolic link
	A, B   string
}

// Read is the digest of a local file as of the moment At, nanoseconds since
// 1970. It holds while the file has this Stat.
type Read struct {
	_      struct{} `cbor:",toarray"`
	Stat   Stat
	At     int64
	Digest []byte
}

// Stat is what shows that a local file was written: times in nanoseconds.
type Stat struct {
	_                       struct{} `cbor:",toarray"`
	Size, Modified, Changed int64
	Inode                   uint64
}

// racy is how close to its last change a file may have been read without its
// times telling a second change apart, in nanoseconds: file systems keep times
// to as little as two seconds.
const racy = 2e9

// Holds reports whether the digest is still that of a file with this Stat.
func (r *Read) Holds(s Stat) bool {
	return r != nil && r.Stat == s && max(s.Modified, s.Changed) < r.At-racy && len(r.Digest) == sha256.Size
}

// Upload is an upload in parts under way, of a local file with this Stat.
type Upload struct {
	_    struct{} `cbor:",toarray"`
	Stat Stat
	ID   string
}

// State is the memory of a pair of trees. It is not safe for concurrent use.
type State struct {
	records map[string]*Record
	known   bool // a run came to its end before
	file    *os.File
	path    string
	pair    [2]string
	id      string // what the pair is, whatever it is called; "": not known
	loaded  bool
	anew    bool // the file is to be written anew

	dirty   map[string]bool // to be written with the next frame
	written int             // records in the file, superseded ones too
}

// Dir is where states are kept: efs/sync in $XDG_STATE_HOME, by default in
// ~/.local/state.
func Dir() (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding a place for what is remembered (XDG_STATE_HOME): %w", err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "efs", "sync"), nil
}

// ErrBusy: another process has the state open.
var ErrBusy = errors.New("these two are being synchronised by another process")

// New returns a state that is kept in memory alone.
func New() *State { return &State{records: map[string]*Record{}, dirty: map[string]bool{}} }

// Open opens the state of the pair (a, b) in dir, making it if need be, for
// this process alone (else ErrBusy). Load comes before all else.
func Open(dir, a, b string) (*State, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(a + "\x00" + b))
	s := New()
	s.path, s.pair = filepath.Join(dir, hex.EncodeToString(sum[:16])+".state"), [2]string{a, b}
	var err error
	if s.file, err = openLocked(s.path); err != nil {
		return nil, err
	}
	return s, nil
}

// Load reads what was remembered. It is apart from Open so that trees can be
// listed meanwhile. id tells the pair from another one that has had the same
// names: what is remembered of that counts no more, and from then on what is
// not remembered counts as new. "" where nothing is known.
func (s *State) Load(id string) error {
	if s.file == nil {
		return nil
	}
	s.id = id
	if err := s.load(); err != nil {
		return fmt.Errorf("reading %s: %w", s.path, err)
	}
	s.loaded = true
	return nil
}

// openLocked opens the file that has the name, and not one that has just lost
// it to a newer one.
func openLocked(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err = lock(f); err == nil {
			mine, e1 := f.Stat()
			named, e2 := os.Stat(path)
			if e1 == nil && e2 == nil && os.SameFile(mine, named) {
				return f, nil
			}
		}
		_ = f.Close() // nothing was written
		if err != nil {
			return nil, err
		}
	}
}

// Known reports whether a run has come to its end with this state before.
func (s *State) Known() bool { return s.known }

// Get returns what is remembered of path, nil for nothing. The caller does not
// change it.
func (s *State) Get(path string) *Record { return s.records[path] }

// Update changes what is remembered of path.
func (s *State) Update(path string, change func(r *Record)) {
	r := Record{Path: path}
	if have := s.records[path]; have != nil {
		r = *have
	}
	change(&r)
	if r.empty() {
		if s.records[path] == nil {
			return
		}
		delete(s.records, path)
	} else {
		s.records[path] = &r
	}
	s.dirty[path] = true
}

// Paths calls fn with every path that is remembered, in no order.
func (s *State) Paths(fn func(path string)) {
	for p := range s.records {
		fn(p)
	}
}

// Len returns how many paths are remembered.
func (s *State) Len() int { return len(s.records) }

// Close lets go of the state. What was not flushed is lost; a file that tells
// nothing is removed.
func (s *State) Close() error {
	if s.file == nil {
		return nil
	}
	fi, err := s.file.Stat()
	if err == nil && fi.Size() == 0 || s.loaded && !s.known && len(s.records) == 0 {
		_ = os.Remove(s.path) // best effort: it does no harm
	}
	return s.file.Close()
}

var encoding = func() cbor.EncMode {
	m, err := cbor.EncOptions{}.EncMode()
	if err != nil {
		panic("syncstate: " + err.Error()) // the options are constant
	}
	return m
}()
