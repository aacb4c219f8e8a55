package dir

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/efs-project/efs"
	"golang.org/x/sys/unix"
)

// Options are what a store can be told.
type Options struct {
	// FanOut is the number of directory levels, 2 or 3. 0 lets Create choose
	// by the volume, and Open take what the directory was made with.
	FanOut int
	// Fault, in tests, is asked before each step that changes the volume
	// ("create", "write", "sync", "rename", "mkdir", "unlink", "syncdir"); an
	// error takes the step's place.
	Fault func(step string) error
}

const (
	newDir        = ".new"
	quarantineDir = ".quarantine"
	tempSuffix    = ".tmp"

	fileMode = 0o600
	dirMode  = 0o700
)

// Store is an efs.Blobs in a directory.
type Store struct {
	root       *os.File
	fresh      *os.File // .new
	quarantine *os.File
	layout     layout
	volume     volume
	fault      func(step string) error

	mu     sync.Mutex // guards users and closed
	users  int        // calls that use the descriptors
	closed bool
	idle   *sync.Cond // no users any more

	freshSync shared // syncs of .new
	pace      pace
	unsettled atomic.Int64 // blobs in .new
	crowded   int64        // how many blobs may lie there before Commit settles
}

var _ efs.Blobs = (*Store)(nil)

// Create makes root ready for blobs and opens it: the directory itself unless
// it exists, and the layout, which stays as it is from then on. efs.ErrExists
// if root holds blobs already.
func Create(root string, opts Options) (*Store, error) {
	if err := os.Mkdir(root, dirMode); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("create blob directory: %w", classify(err))
	}
	if err := create(root, opts); err != nil {
		return nil, fmt.Errorf("create blob directory '%s': %w", root, classify(err))
	}
	return Open(root, opts)
}

func create(root string, opts Options) error {
	r, err := openDir(root)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // a directory opened for reading
	if err := refuseUsed(r); err != nil {
		return err
	}
	v, err := volumeOf(r)
	if err != nil {
		return err
	}
	l := layout{Format: layoutFormat, FanOut: opts.FanOut}
	if l.FanOut == 0 {
		l.FanOut = v.fanOut()
	}
	if err := l.valid(); err != nil {
		return err
	}
	for _, name := range []string{newDir, quarantineDir} {
		if err := unix.Mkdirat(int(r.Fd()), name, dirMode); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return l.write(r) // last: what has a layout is complete
}

// Open opens a directory that Create made, and removes what was being written
// when it was last in use. efs.ErrNotFound if there is no such directory, or
// nothing in it, as when its volume is not mounted.
func Open(root string, opts Options) (*Store, error) {
	s := &Store{fault: opts.Fault}
	s.idle = sync.NewCond(&s.mu)
	if s.fault == nil {
		s.fault = func(string) error { return nil }
	}
	if err := s.openAll(root, opts); err != nil {
		_ = s.Close() // what was opened for reading
		return nil, fmt.Errorf("open blob directory '%s': %w", root, classify(err))
	}
	return s, nil
}

func (s *Store) openAll(root string, opts Options) (err error) {
	if s.root, err = openDir(root); err != nil {
		return err
	}
	if s.volume, err = volumeOf(s.root); err != nil {
		return err
	}
	if s.layout, err = readLayout(s.root); err != nil {
		return err
	}
	if opts.FanOut != 0 && opts.FanOut != s.layout.FanOut {
		return fmt.Errorf("made with %d levels, not %d: %w", s.layout.FanOut, opts.FanOut, efs.ErrBadInput)
	}
	if s.fresh, err = s.openSub(newDir); err != nil {
		return err
	}
	if s.quarantine, err = s.openSub(quarantineDir); err != nil {
		return err
	}
	s.freshSync.sync = func() error { return s.syncDir(s.fresh) }
	s.crowded = int64(s.volume.maxDir / 4)
	return s.sweep()
}

// openSub opens one of the directories beside the fan-out, making it again
// where a copy of the tree has left out an empty one.
func (s *Store) openSub(name string) (*os.File, error) {
	fd, err := openBeneath(s.fd(), name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, unix.ENOENT) {
		if err = unix.Mkdirat(s.fd(), name, dirMode); err == nil {
			fd, err = openBeneath(s.fd(), name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Close waits for calls under way and releases the directory. What is being
// written can then only be aborted.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for s.users > 0 {
		s.idle.Wait()
	}
	var errs []error
	for _, f := range []*os.File{s.root, s.fresh, s.quarantine} {
		if f != nil {
			if err := f.Close(); !errors.Is(err, os.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// enter keeps the descriptors open until leave. Calls may nest, as those from
// within a walk do.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("blob directory: %w", os.ErrClosed)
	}
	s.users++
	return nil
}

func (s *Store) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users--
	if s.users == 0 {
		s.idle.Broadcast()
	}
}

// Layout describes the placement, for people.
func (s *Store) Layout() efs.Layout {
	return efs.Layout{
		Volume:  s.volume.name,
		FanOut:  s.layout.FanOut,
		MaxDir:  s.volume.maxDir,
		Reached: reached(s.layout.FanOut, s.volume.maxDir),
	}
}

func (s *Store) fd() int { return int(s.root.Fd()) }

func (s *Store) syncDir(d *os.File) error {
	if err := s.fault("syncdir"); err != nil {
		return err
	}
	return d.Sync()
}

// classify adds to an error of the volume the kind that callers ask for.
func classify(err error) error {
	for _, c := range []struct {
		kind  error
		errno []unix.Errno
	}{
		{efs.ErrNotFound, []unix.Errno{unix.ENOENT}},
		{efs.ErrNoSpace, []unix.Errno{unix.ENOSPC, unix.EDQUOT, unix.EFBIG}},
		{efs.ErrDamaged, []unix.Errno{unix.ELOOP, unix.ENOTDIR, unix.EISDIR}}, // not what a store puts there
	} {
		for _, e := range c.errno {
			if errors.Is(err, e) && !errors.Is(err, c.kind) {
				return fmt.Errorf("%w: %w", c.kind, err)
			}
		}
	}
	return err
}
