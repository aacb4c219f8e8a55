package salvage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/internal/unarchive"
)

// DirSink writes files below a directory that is new or empty. Nothing is
// written out of it, whatever names and symbolic links say.
type DirSink struct {
	Path string

	dir *unarchive.Dir
}

// Begin makes the directory.
func (s *DirSink) Begin(archive.Info) error {
	if err := os.Mkdir(s.Path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	have, err := os.ReadDir(s.Path)
	if err != nil {
		return err
	}
	if len(have) > 0 {
		return fmt.Errorf("%w: '%s' is not empty: name a directory that is, or that does not exist", efs.ErrExists, s.Path)
	}
	// Nothing replaces what came out before it, where names that differ are one
	// to the file system.
	s.dir, err = unarchive.New(s.Path, true)
	return err
}

// errThere is the error of a member whose name another one has.
var errThere = errors.New("something else has its name there")

// Member writes a member. What the system does not take under its name, or
// twice, is a MemberError; a full disk is not, nor is what write fails with.
func (s *DirSink) Member(m *archive.Member, write func(io.Writer) error) error {
	named := *m
	named.Lost = nil // its name tells already
	var broken error
	from := func(w io.Writer) error {
		if write != nil {
			broken = write(w)
		}
		return broken
	}
	err := s.dir.Write(&named, from)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unarchive.ErrKept):
		return &MemberError{errThere}
	case broken != nil, errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EIO):
		return fmt.Errorf("writing %q: %w", m.Name, err)
	}
	return &MemberError{err}
}

// Bare tells of how many members content type and metadata were not kept, as
// the file system takes no extended attributes, and of how many permissions or
// times were not, and why not of the first of these.
func (s *DirSink) Bare() (metadata, unset int, why error) {
	if s.dir == nil {
		return 0, 0, nil
	}
	unset, why = s.dir.Unset()
	return s.dir.WithoutMetadata(), unset, why
}

// Close sets what writing into directories would have changed, and makes
// everything durable.
func (s *DirSink) Close() error {
	if s.dir == nil {
		return nil
	}
	return s.dir.Close()
}
