package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/efs-project/efs"
	"golang.org/x/sys/unix"
)

// How much a Bulk gathers before it syncs.
const (
	bulkBytes = 128 << 20
	bulkBlobs = 1000
)

// Bulk puts many blobs into a store, as a backup or a restore does: they are
// synced together, so that each costs a fraction of a sync, and get their names
// only after that. What has a name is whole. One goroutine uses it, and ends it
// with Flush or Abort; what a crash leaves, the next Open removes.
type Bulk struct {
	s       *Store
	link    bool
	pending []efs.ID
	bytes   int64
}

// Bulk begins to put blobs into the store. With link, blobs of a store on the
// same volume are linked (link(2)) rather than copied where that is possible.
func (s *Store) Bulk(link bool) *Bulk { return &Bulk{s: s, link: link} }

// Size returns the length of a blob in bytes. efs.ErrNotFound.
func (s *Store) Size(id efs.ID) (int64, error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	var st unix.Stat_t
	_, path := place(id, s.layout.FanOut)
	err := unix.Fstatat(s.fd(), path, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		err = unix.Fstatat(int(s.fresh.Fd()), id.String(), &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = fmt.Errorf("not a regular file: %w", efs.ErrDamaged)
	}
	if err != nil {
		return 0, fmt.Errorf("blob %s: %w", id, classify(err))
	}
	return st.Size, nil
}

// Add copies a blob. It takes the place of one of the same id.
func (b *Bulk) Add(ctx context.Context, id efs.ID, from efs.Blob) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.s.enter(); err != nil {
		return err
	}
	defer b.s.leave()
	if err := b.add(id, from); err != nil {
		b.s.discard(id.String() + tempSuffix)
		return fmt.Errorf("copy blob %s: %w", id, classify(err))
	}
	b.pending = append(b.pending, id)
	if b.bytes += from.Size(); b.bytes >= bulkBytes || len(b.pending) >= bulkBlobs {
		return b.flush()
	}
	return nil
}

func (b *Bulk) add(id efs.ID, from efs.Blob) error {
	name := id.String() + tempSuffix
	if src, ok := from.(*blob); ok && b.link {
		err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", src.Fd()), int(b.s.fresh.Fd()), name, unix.AT_SYMLINK_FOLLOW)
		if err == nil {
			return nil
		}
		b.link = false // another volume, or one without links
	}
	if err := b.s.fault("create"); err != nil {
		return err
	}
	fd, err := openat(int(b.s.fresh.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, fileMode)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	n, err := io.Copy(f, io.NewSectionReader(from, 0, from.Size()))
	if err == nil && n != from.Size() {
		err = fmt.Errorf("it ends after %d bytes of %d: %w", n, from.Size(), efs.ErrDamaged)
	}
	if err == nil {
		err = b.s.fault("write")
	}
	return errors.Join(err, f.Close())
}

// Flush makes all that was added durable under its name.
func (b *Bulk) Flush() error {
	if err := b.s.enter(); err != nil {
		return err
	}
	defer b.s.leave()
	return b.flush()
}

func (b *Bulk) flush() error {
	if len(b.pending) == 0 {
		return nil
	}
	err := b.s.syncAll()
	for _, id := range b.pending {
		if err == nil {
			err = b.name(id)
		}
	}
	if err == nil {
		err = b.s.syncAll()
	}
	if err != nil {
		return fmt.Errorf("copy blobs: %w", classify(err))
	}
	b.pending, b.bytes = b.pending[:0], 0
	return nil
}

// name moves a blob to its place.
func (b *Bulk) name(id efs.ID) error {
	to, err := b.s.placeDir(id)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }() // a directory opened for reading
	if err := b.s.fault("rename"); err != nil {
		return err
	}
	return unix.Renameat(int(b.s.fresh.Fd()), id.String()+tempSuffix, int(to.Fd()), id.String())
}

// Abort removes what was added since the last time that all was made durable.
func (b *Bulk) Abort() {
	if b.s.enter() != nil {
		return
	}
	defer b.s.leave()
	for _, id := range b.pending {
		b.s.discard(id.String() + tempSuffix)
	}
	b.pending, b.bytes = nil, 0
}

// syncAll makes everything on the store's volume durable.
func (s *Store) syncAll() error {
	if err := s.fault("sync"); err != nil {
		return err
	}
	return syncVolume(s.fd())
}
