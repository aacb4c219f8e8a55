package salvage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
)

// DirSink writes files below a directory that is new or empty. Nothing is
// written out of it, whatever names and symbolic links say.
type DirSink struct {
	Path string

	root *os.Root
	dirs []*archive.Member // whose times and modes are set at the end
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
	s.root, err = os.OpenRoot(s.Path)
	return err
}

// Member writes a member. What the system does not take under its name, or
// twice, is a MemberError; a full disk is not.
func (s *DirSink) Member(m *archive.Member, write func(io.Writer) error) error {
	var err error
	switch m.Kind {
	case efs.KindDir:
		if err = s.root.Mkdir(m.Name, 0o700); err == nil {
			s.dirs = append(s.dirs, &archive.Member{Name: m.Name, Kind: m.Kind, Mode: m.Mode, Modified: m.Modified})
		}
	case efs.KindSymlink:
		err = s.root.Symlink(m.Target, m.Name)
	default:
		return s.file(m, write)
	}
	if err != nil {
		return &MemberError{err}
	}
	return nil
}

func (s *DirSink) file(m *archive.Member, write func(io.Writer) error) error {
	f, err := s.root.OpenFile(m.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return &MemberError{err}
	}
	if write != nil {
		err = write(f)
	}
	if err == nil && m.Mode != 0 {
		err = f.Chmod(fs.FileMode(m.Mode & 0o777))
	} else if err == nil {
		err = f.Chmod(0o644)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		// A part of a file is not to stand under the name of the whole.
		return fmt.Errorf("writing %q: %w", m.Name, errors.Join(err, s.root.Remove(m.Name)))
	}
	return s.times(m)
}

// times sets the time of change; that it cannot be set is none of the file.
func (s *DirSink) times(m *archive.Member) error {
	_ = s.root.Chtimes(m.Name, time.Now(), m.Modified)
	return nil
}

// Close sets what writing into directories would have changed, and makes
// everything durable.
func (s *DirSink) Close() error {
	if s.root == nil {
		return nil
	}
	for i := len(s.dirs) - 1; i >= 0; i-- {
		m := s.dirs[i]
		mode := fs.FileMode(0o755)
		if m.Mode != 0 {
			mode = fs.FileMode(m.Mode & 0o777)
		}
		if err := s.root.Chmod(m.Name, mode); err != nil {
			return err
		}
		if err := s.times(m); err != nil {
			return err
		}
	}
	return errors.Join(s.root.Close(), syncTree(s.Path))
}
