package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
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

// Heads returns the lines that were kept, oldest first; none if the file is
// not there. Their signatures are for the caller to check.
func (s *FileSink) Heads() ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ReadHeads(s.path)
}

// ReadHeads reads the lines of a file of heads; none if it is not there.
func ReadHeads(path string) ([][]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading kept heads: %w", err)
	}
	var out [][]byte
	in := bufio.NewScanner(bytes.NewReader(b))
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
