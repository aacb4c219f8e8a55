package audit

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/efs-project/efs"
)

// Next is the number of the line after the last that is durable.
func (l *Log) Next() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// Changes calls fn for the durable lines from number from on that belong to
// changes of a file system. It does not verify them.
func (l *Log) Changes(ctx context.Context, fs efs.ID, from uint64, fn func(*Line)) error {
	if l == nil {
		return errOff
	}
	if err := l.Sync(ctx); err != nil {
		return err
	}
	l.files.RLock()
	defer l.files.RUnlock()
	all, err := segments(l.o.Dir)
	if err != nil {
		return err
	}
	mark := append(appendID([]byte(changeMark), fs), '"')
	path, size := l.end()
	for i, s := range all {
		if i+1 < len(all) && all[i+1].first <= from {
			continue
		}
		limit := int64(1 << 62)
		if s.path == path {
			limit = size
		}
		err := changesIn(ctx, s.path, limit, mark, func(line *Line) {
			if line.Seq >= from && line.Change != 0 && line.FSID == fs {
				fn(line)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// changesIn takes only those lines apart that hold mark: a file may have some
// hundred thousand others.
func changesIn(ctx context.Context, path string, limit int64, mark []byte, fn func(*Line)) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening the audit log: %w", err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(io.LimitReader(f, limit), maxLine)
	for n := 0; ; n++ {
		raw, err := in.ReadSlice('\n')
		if err == io.EOF {
			return nil // a line without an end is none
		}
		if err == nil && n%1000 == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		if !bytes.Contains(raw, mark) {
			continue
		}
		line, err := parse(bytes.Clone(raw))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		fn(line)
	}
}
