package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"golang.org/x/sys/unix"
)

// Settle moves a blob from .new to its place; see efs.Blobs. efs.ErrNotFound
// if it lies in neither.
func (s *Store) Settle(ctx context.Context, id efs.ID) error {
	return s.on(ctx, "settle", id, s.settle)
}

// Remove deletes a blob durably; see efs.Blobs.
func (s *Store) Remove(ctx context.Context, id efs.ID) error {
	return s.on(ctx, "remove", id, s.remove)
}

// Quarantine takes a blob out of sight, durably; see efs.Blobs. To bring it
// back, move its file to .new and cut the time off its name. efs.ErrNotFound
// if there is no such blob.
func (s *Store) Quarantine(ctx context.Context, id efs.ID) error {
	return s.on(ctx, "quarantine", id, s.hide)
}

func (s *Store) on(ctx context.Context, what string, id efs.ID, do func(efs.ID) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := do(id); err != nil {
		return fmt.Errorf("%s blob %s: %w", what, id, classify(err))
	}
	return nil
}

func (s *Store) settle(id efs.ID) error {
	to, err := s.placeDir(id)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }() // a directory opened for reading
	if err := s.fault("rename"); err != nil {
		return err
	}
	err = unix.Renameat(int(s.fresh.Fd()), id.String(), int(to.Fd()), id.String())
	if errors.Is(err, unix.ENOENT) {
		var st unix.Stat_t
		return unix.Fstatat(int(to.Fd()), id.String(), &st, unix.AT_SYMLINK_NOFOLLOW) // settled before, or nowhere
	} else if err != nil {
		return err
	}
	s.unsettled.Add(-1)
	if s.volume.loose {
		return errors.Join(s.syncDir(to), s.freshSync.wait())
	}
	return nil
}

// placeDir opens the directory of a blob's place, making it where it is
// missing. Nothing is synced: see the package comment.
func (s *Store) placeDir(id efs.ID) (*os.File, error) {
	path, _ := place(id, s.layout.FanOut)
	d, err := s.openPlace(path)
	if !errors.Is(err, unix.ENOENT) {
		return d, err
	}
	if err := s.makeDirs(path); err != nil {
		return nil, err
	}
	return s.openPlace(path)
}

func (s *Store) openPlace(path string) (*os.File, error) {
	fd, err := openBeneath(s.fd(), path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// makeDirs makes the directories of path below the root, as far as they are
// missing.
func (s *Store) makeDirs(path string) error {
	at := s.root
	for _, name := range strings.Split(path, "/") {
		err := s.fault("mkdir")
		if err == nil {
			err = unix.Mkdirat(int(at.Fd()), name, dirMode)
		}
		var next *os.File
		if err == nil || errors.Is(err, unix.EEXIST) {
			var fd int
			if fd, err = openBeneath(int(at.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY, 0); err == nil {
				next = os.NewFile(uintptr(fd), name)
			}
		}
		if at != s.root {
			_ = at.Close() // a directory opened for reading
		}
		if err != nil {
			return err
		}
		at = next
	}
	return at.Close()
}

// remove unlinks a blob from .new or from its place; blobs move only from the
// one to the other, so that looking in this order misses none.
func (s *Store) remove(id efs.ID) error {
	if err := s.fault("unlink"); err != nil {
		return err
	}
	err := unix.Unlinkat(int(s.fresh.Fd()), id.String(), 0)
	if err == nil {
		s.unsettled.Add(-1)
		return s.freshSync.wait()
	} else if !errors.Is(err, unix.ENOENT) {
		return err
	}
	path, _ := place(id, s.layout.FanOut)
	d, err := s.openPlace(path)
	if errors.Is(err, unix.ENOENT) {
		return nil
	} else if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // a directory opened for reading
	if err := unix.Unlinkat(int(d.Fd()), id.String(), 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	// Also when it was gone: the sync of the attempt that unlinked it may have
	// failed.
	return s.syncDir(d)
}

// hide renames a blob into the quarantine.
func (s *Store) hide(id efs.ID) error {
	to, err := s.quarantineSub(id.String()[:2])
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }() // a directory opened for reading
	name := id.String() + "." + strconv.FormatInt(time.Now().Unix(), 10)
	if err := s.fault("rename"); err != nil {
		return err
	}
	err = unix.Renameat(int(s.fresh.Fd()), id.String(), int(to.Fd()), name)
	if err == nil {
		s.unsettled.Add(-1)
		return errors.Join(s.syncDir(to), s.freshSync.wait())
	} else if !errors.Is(err, unix.ENOENT) {
		return err
	}
	path, _ := place(id, s.layout.FanOut)
	from, err := s.openPlace(path)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }() // a directory opened for reading
	if err := unix.Renameat(int(from.Fd()), id.String(), int(to.Fd()), name); err != nil {
		return err
	}
	return errors.Join(s.syncDir(to), s.syncDir(from))
}

// quarantineSub opens the quarantine's directory for a first hex pair. One
// level is enough for what a repair finds.
func (s *Store) quarantineSub(pair string) (*os.File, error) {
	at := int(s.quarantine.Fd())
	if err := unix.Mkdirat(at, pair, dirMode); err == nil {
		if err := s.syncDir(s.quarantine); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	fd, err := openBeneath(at, pair, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), pair), nil
}

// PurgeQuarantine deletes what has been in quarantine since before t, to the
// second; see efs.Blobs.
func (s *Store) PurgeQuarantine(ctx context.Context, t time.Time) (purged int, err error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	err = eachName(ctx, s.quarantine, ".", func(pair string) error {
		if !isPair(pair) {
			return nil
		}
		n, err := s.purge(ctx, pair, t)
		purged += n
		return err
	})
	if err != nil {
		return purged, fmt.Errorf("purge quarantine: %w", classify(err))
	}
	return purged, nil
}

func (s *Store) purge(ctx context.Context, pair string, t time.Time) (purged int, err error) {
	d, err := s.quarantineSub(pair)
	if err != nil {
		return 0, err
	}
	defer func() { _ = d.Close() }() // a directory opened for reading
	err = eachName(ctx, d, ".", func(name string) error {
		id, at, _ := strings.Cut(name, ".")
		seconds, err := strconv.ParseInt(at, 10, 64)
		if _, ok := blobName(id); !ok || err != nil || !time.Unix(seconds, 0).Before(t) {
			return nil // not of this store's making, or too young
		}
		if err := s.fault("unlink"); err != nil {
			return err
		}
		if err := unix.Unlinkat(int(d.Fd()), name, 0); err != nil {
			return err
		}
		purged++
		return nil
	})
	if err == nil && purged > 0 {
		err = s.syncDir(d)
	}
	return purged, err
}

// eachName calls fn for every name in the directory rel below d, reading some
// at a time. fn may remove names.
func eachName(ctx context.Context, d *os.File, rel string, fn func(name string) error) error {
	fd, err := openBeneath(int(d.Fd()), rel, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), rel)
	defer func() { _ = f.Close() }() // a directory opened for reading
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		names, err := f.Readdirnames(1024)
		for _, name := range names {
			if err := fn(name); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
