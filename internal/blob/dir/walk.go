package dir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"golang.org/x/sys/unix"
)

// Unsettled calls fn for each blob in .new; see efs.Blobs. fn may settle or
// remove it.
func (s *Store) Unsettled(ctx context.Context, fn func(efs.BlobInfo) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return walkError(s.walkNew(ctx, fn))
}

// Walk calls fn for every blob once, those in .new first, in no other order;
// see efs.Blobs. What is stored or removed meanwhile may be told of or not.
// Files that are no blobs of this layout are passed over.
func (s *Store) Walk(ctx context.Context, fn func(efs.BlobInfo) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	// Blobs that are settled during the walk turn up again.
	seen := make(map[efs.ID]struct{})
	err := s.walkNew(ctx, func(b efs.BlobInfo) error {
		seen[b.ID] = struct{}{}
		return fn(b)
	})
	if err == nil {
		err = s.walkPlaces(ctx, "", func(b efs.BlobInfo) error {
			if _, ok := seen[b.ID]; ok {
				return nil
			}
			return fn(b)
		})
	}
	return walkError(err)
}

func walkError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("walk blobs: %w", classify(err))
}

func (s *Store) walkNew(ctx context.Context, fn func(efs.BlobInfo) error) error {
	return s.walkDir(ctx, s.fresh, ".", func(b efs.BlobInfo) error {
		b.Unsorted = true
		return fn(b)
	})
}

// walkPlaces goes through the fan-out below path, which is "" or "xx/…".
func (s *Store) walkPlaces(ctx context.Context, path string, fn func(efs.BlobInfo) error) error {
	if len(path) == 3*s.layout.FanOut {
		return s.walkDir(ctx, s.root, strings.TrimSuffix(path, "/"), func(b efs.BlobInfo) error {
			if dir, _ := place(b.ID, s.layout.FanOut); dir+"/" != path {
				return nil // nobody would find it here
			}
			return fn(b)
		})
	}
	return eachName(ctx, s.root, cmp.Or(strings.TrimSuffix(path, "/"), "."), func(name string) error {
		if !isPair(name) {
			return nil
		}
		return s.walkPlaces(ctx, path+name+"/", fn)
	})
}

// walkDir calls fn for each blob in one directory.
func (s *Store) walkDir(ctx context.Context, d *os.File, rel string, fn func(efs.BlobInfo) error) error {
	fd, err := openBeneath(int(d.Fd()), rel, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	at := os.NewFile(uintptr(fd), rel)
	defer func() { _ = at.Close() }() // a directory opened for reading
	return eachName(ctx, at, ".", func(name string) error {
		id, ok := blobName(name)
		if !ok {
			return nil
		}
		var st unix.Stat_t
		err := unix.Fstatat(int(at.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) {
			return nil // removed or settled meanwhile
		} else if err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFREG {
			return nil
		}
		return fn(efs.BlobInfo{ID: id, Size: st.Size, Modified: time.Unix(st.Mtim.Unix())})
	})
}

// sweep removes what was being written when the directory was last in use, and
// counts what lies in .new.
func (s *Store) sweep() error {
	return eachName(context.Background(), s.fresh, ".", func(name string) error {
		base, temp := strings.CutSuffix(name, tempSuffix)
		if _, ok := blobName(base); !ok {
			return nil
		}
		if !temp {
			s.unsettled.Add(1)
			return nil
		}
		return unix.Unlinkat(int(s.fresh.Fd()), name, 0)
	})
}
