package dir

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/efs-project/efs"
	"golang.org/x/sys/unix"
)

// newBlob is a blob being written, under its temporary name.
type newBlob struct {
	store *Store
	id    efs.ID
	file  *os.File
	out   *output
	err   error // of a write: then Commit must not succeed
	ended bool
}

// Create begins a blob; see efs.Blobs. efs.ErrExists if the id is taken.
func (s *Store) Create(ctx context.Context, id efs.ID) (efs.NewBlob, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	f, err := s.create(id)
	if err != nil {
		return nil, fmt.Errorf("create blob: %w", classify(err))
	}
	return &newBlob{store: s, id: id, file: f, out: newOutput(f, s.volume.direct, &s.pace)}, nil
}

func (s *Store) create(id efs.ID) (*os.File, error) {
	if id.IsZero() {
		return nil, fmt.Errorf("no id: %w", efs.ErrBadInput)
	}
	if s.exists(id) {
		return nil, efs.ErrExists
	}
	if err := s.fault("create"); err != nil {
		return nil, err
	}
	name := id.String() + tempSuffix
	fd, err := openat(int(s.fresh.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, fileMode)
	if errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("being written: %w", efs.ErrExists)
	} else if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// exists reports whether something stands where the blob would.
func (s *Store) exists(id efs.ID) bool {
	var st unix.Stat_t
	_, path := place(id, s.layout.FanOut)
	return unix.Fstatat(int(s.fresh.Fd()), id.String(), &st, unix.AT_SYMLINK_NOFOLLOW) == nil ||
		unix.Fstatat(s.fd(), path, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// Write appends to the blob.
func (b *newBlob) Write(p []byte) (int, error) {
	if b.ended {
		return 0, fmt.Errorf("write blob: %w", os.ErrClosed)
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := 0, b.store.fault("write")
	if err == nil {
		n, err = b.out.Write(p)
	}
	if err != nil {
		b.err = fmt.Errorf("write blob: %w", classify(err))
	}
	return n, b.err
}

// Commit makes the blob durable; see efs.NewBlob. If it fails nothing is left
// of the blob.
func (b *newBlob) Commit() error {
	if b.ended {
		return fmt.Errorf("commit blob: %w", os.ErrClosed)
	}
	if b.err != nil {
		b.Abort()
		return b.err
	}
	if err := b.store.enter(); err != nil {
		b.Abort()
		return err
	}
	defer b.store.leave()
	b.ended = true
	if err := b.commit(); err != nil {
		return fmt.Errorf("commit blob: %w", classify(err))
	}
	s := b.store
	if s.unsettled.Add(1) > s.crowded {
		// Whoever settles blobs falls behind. This one is durable where it
		// is, so that a failure to move it is not its caller's; they settle it
		// later.
		_ = s.settle(b.id)
	}
	return nil
}

func (b *newBlob) commit() error {
	s := b.store
	final := b.id.String()
	temp := final + tempSuffix
	err := b.out.flush()
	b.out.release()
	if err == nil {
		if err = s.fault("sync"); err == nil {
			err = b.file.Sync()
		}
	}
	// Network file systems tell of some failures only when closing.
	if err = errors.Join(err, b.file.Close()); err == nil {
		if err = s.fault("rename"); err == nil {
			err = renameNew(int(s.fresh.Fd()), temp, final)
		}
	}
	if err != nil {
		s.discard(temp)
		return err
	}
	if err = s.freshSync.wait(); err != nil {
		s.discard(final)
	}
	return err
}

// Abort removes what was written.
func (b *newBlob) Abort() {
	if b.ended {
		return
	}
	b.ended = true
	b.out.release()
	_ = b.file.Close() // nothing of it is kept
	if b.store.enter() != nil {
		return // the next Open removes it
	}
	defer b.store.leave()
	b.store.discard(b.id.String() + tempSuffix)
}

// discard removes a file of .new that nobody has been promised. What cannot be
// removed now is found by the next Open, or by a walk.
func (s *Store) discard(name string) {
	_ = unix.Unlinkat(int(s.fresh.Fd()), name, 0)
}
