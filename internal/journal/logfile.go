package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/internal/fsync"
)

// logFile is the log that is being written.
type logFile struct {
	f      *os.File
	out    *streamWriter
	number uint64
	head   efs.Head // of what it holds
}

// createLog makes log number, which goes on from head, durably.
func createLog(dir string, key []byte, number uint64, head efs.Head) (*logFile, error) {
	f, err := os.OpenFile(filepath.Join(dir, fileName(number, logSuffix)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	l := &logFile{f: f, number: number, head: head}
	if l.out, err = newStreamWriter(&directFile{f: f}, key, fileHeader{kind: kindLog, number: number, fs: head.FS}); err == nil {
		err = l.out.chunk(chunkData, appendHead(nil, head.Revision, head))
	}
	if err == nil {
		err = errors.Join(f.Sync(), atomicfile.SyncDir(dir))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

// append writes commits, durably. After an error the log is not to be used.
func (l *logFile) append(t taken) error {
	from := 0
	for _, to := range append(t.cuts, len(t.items)) {
		if err := l.write(t.items[from:to]); err != nil {
			return err
		}
		from = to
	}
	if err := fsync.Data(l.f); err != nil {
		return err
	}
	l.head = t.head
	return nil
}

// write writes items as chunks: one, unless a commit was very large.
func (l *logFile) write(items []byte) error {
	for len(items) > 0 {
		n, err := cut(items, 2*chunkSize)
		if err != nil {
			return err
		}
		if err := l.out.chunk(chunkData, items[:n]); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

// cut returns how many bytes the items are that fit into a chunk of about size
// bytes, one at least.
func cut(items []byte, size int) (int, error) {
	if len(items) <= size {
		return len(items), nil
	}
	n := 0
	for n < len(items) {
		_, rest, err := nextItem(items[n:])
		if err != nil {
			return 0, err
		}
		next := len(items) - len(rest)
		if n > 0 && next > size {
			break
		}
		n = next
	}
	return n, nil
}

// end ends the log in order, so that another one can go on from it.
func (l *logFile) end() error {
	err := l.out.chunk(chunkEnd, appendHead(nil, l.head.Revision, l.head))
	return errors.Join(err, fsync.Data(l.f), l.f.Close())
}

// firstHead returns the head that a log begins with; not ok if it has none.
func firstHead(path string, key []byte) (h efs.Head, ok bool, err error) {
	return headOf(path, key, func(*os.File, *streamReader) (bool, error) { return true, nil })
}

// lastHead returns the head that a log ended with; not ok if it was not ended in
// order. It reads the headers of the chunks and the last one.
func lastHead(path string, key []byte) (h efs.Head, ok bool, err error) {
	return headOf(path, key, toLastChunk)
}

// headOf returns the head that the chunk of a log begins with which find goes to.
func headOf(path string, key []byte, find func(*os.File, *streamReader) (bool, error)) (h efs.Head, ok bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return h, false, err
	}
	defer func() { _ = f.Close() }()
	s, err := openStream(f, key)
	if errors.Is(err, efs.ErrDamaged) {
		return h, false, nil
	} else if err != nil {
		return h, false, err
	}
	if ok, err := find(f, s); err != nil || !ok {
		return h, false, err
	}
	plain, err := s.next()
	if errors.Is(err, errTorn) || errors.Is(err, errAltered) || errors.Is(err, io.EOF) || err == nil && len(plain) == 0 {
		return h, false, nil
	}
	if err != nil {
		return h, false, err
	}
	it, _, err := nextItem(plain)
	if err != nil || it.kind != itemHead {
		return h, false, fmt.Errorf("%s: %w", filepath.Base(path), errItem)
	}
	it.head.FS = s.head.fs
	return it.head, true, nil
}

// toLastChunk goes to the chunk that ends a log.
func toLastChunk(f *os.File, s *streamReader) (bool, error) {
	for {
		var head [chunkHeaderLen]byte
		if _, err := f.ReadAt(head[:], s.at); isEnd(err) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		if head[3] == chunkEnd {
			_, err := f.Seek(s.at, io.SeekStart)
			return err == nil, err
		}
		s.at += align(chunkHeaderLen + int64(binary.BigEndian.Uint32(head[4:])) + chunkTag)
		s.counter++
	}
}
