package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/efs-project/efs/internal/atomicfile"
)

// FileSink appends heads to a file, best on a volume that is written once.
type FileSink struct {
	path string
	mu   sync.Mutex
}

// NewFileSink returns a sink to the file at path, whose directory must exist.
// The file is made, mode 0600, when the first head comes.
func NewFileSink(path string) *FileSink { return &FileSink{path: path} }

// Name is "file:PATH".
func (s *FileSink) Name() string { return "file:" + s.path }

// PutHead appends a head durably.
func (s *FileSink) PutHead(_ context.Context, line []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := os.Lstat(s.path)
	fresh := errors.Is(err, fs.ErrNotExist)
	f, err := os.OpenFile(s.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("keeping a head: %w", err)
	}
	_, err = f.Write(line)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil && fresh {
		err = atomicfile.SyncDir(filepath.Dir(s.path))
	}
	if err != nil {
		return fmt.Errorf("keeping a head: %w", err)
	}
	return nil
}

// recent is how much of the end of its file a sink reads back, bytes: some
// thousand heads.
const recent = 1 << 20

// Heads returns the last lines that were kept, oldest first; none if the file
// is not there. Their signatures are for the caller to check.
func (s *FileSink) Heads() ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading kept heads: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading kept heads: %w", err)
	}
	off := max(0, info.Size()-recent)
	heads, err := readHeads(io.NewSectionReader(f, off, recent))
	if off > 0 && len(heads) > 0 {
		heads = heads[1:] // it may have lost its beginning
	}
	return heads, err
}

// ReadHeads reads the lines of a file of heads; none if it is not there.
func ReadHeads(path string) ([][]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading kept heads: %w", err)
	}
	defer f.Close()
	return readHeads(f)
}

func readHeads(r io.Reader) (out [][]byte, err error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	for in.Scan() {
		if len(bytes.TrimSpace(in.Bytes())) > 0 {
			out = append(out, append(bytes.Clone(in.Bytes()), '\n'))
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("reading kept heads: %w", err)
	}
	return out, nil
}
