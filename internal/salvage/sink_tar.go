package salvage

import (
	"bufio"
	"fmt"
	"io"

	"github.com/efs-project/efs/internal/archive"
)

// TarSink writes a PAX tar, as internal/archive does, to W, which it does not
// close.
type TarSink struct {
	W io.Writer

	out *bufio.Writer
	tar *archive.Writer
}

// Begin writes the head.
func (s *TarSink) Begin(info archive.Info) (err error) {
	s.out = bufio.NewWriterSize(s.W, 1<<20)
	s.tar, err = archive.NewWriter(s.out, info)
	return err
}

// Member writes a member.
func (s *TarSink) Member(m *archive.Member, write func(io.Writer) error) error {
	if err := s.tar.Member(m); err != nil {
		return err
	}
	if write == nil {
		return nil
	}
	if err := write(s.tar); err != nil {
		return fmt.Errorf("writing %q: %w", m.Name, err)
	}
	return nil
}

// Close ends the tar.
func (s *TarSink) Close() error {
	if err := s.tar.Close(); err != nil {
		return err
	}
	return s.out.Flush()
}
