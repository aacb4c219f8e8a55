package fsys

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/efs-project/efs"
)

// A file of few extents has all its contents open while it is open. One of
// many, as uploads in parts make, opens each when it is first read and keeps the
// last few: opening costs about a tenth of a millisecond, and neither a read of
// one byte nor the number of open files grows with the number of parts.
const (
	eagerParts = 4 // a file with no more extents opens all at once
	openParts  = 4 // that a file with more keeps open beside those being read
)

// lazy reports whether parts are opened when they are read.
func (f *File) lazy() bool { return len(f.parts) > eagerParts }

// part returns the part i, open, until done is called.
func (f *File) part(i int) (p *part, done func(), err error) {
	p = &f.parts[i]
	if !f.lazy() {
		return p, func() {}, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !p.isOpen() {
		if err := f.openLate(p); err != nil {
			return nil, nil, err
		}
	}
	p.readers++
	f.idle = slices.DeleteFunc(f.idle, func(n int) bool { return n == i })
	return p, func() { f.leave(i) }, nil
}

func (p *part) isOpen() bool { return p.r != nil || p.plain != nil }

// openLate opens a part of a file that was opened before.
func (f *File) openLate(p *part) error {
	if f.cache != nil && f.fromCache(p) {
		return nil
	}
	err := f.openPart(context.Background(), p) // local, and short
	if err != nil {
		p.close()
	}
	if errors.Is(err, efs.ErrNotFound) {
		return fmt.Errorf("%w: %w: run fsck", efs.ErrDamaged, err) // it is pinned
	}
	return err
}

// leave ends a use of part i, and closes the part that has been idle for
// longest if there are many.
func (f *File) leave(i int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.parts[i].readers--; f.parts[i].readers > 0 {
		return
	}
	f.idle = append(f.idle, i)
	if len(f.idle) > openParts {
		if err := f.parts[f.idle[0]].close(); err != nil {
			f.fs.log.Error("closing a content", "content", f.parts[f.idle[0]].Content.String(), "error", err)
		}
		f.idle = slices.Delete(f.idle, 0, 1)
	}
}

// close gives back what is open of a part and wipes it.
func (p *part) close() (err error) {
	if p.cached != nil {
		p.cached.Release()
	} else {
		clear(p.plain)
	}
	p.cached, p.plain = nil, nil
	if p.r != nil {
		err = p.r.Close()
		p.r = nil
	}
	if p.blob != nil {
		err = errors.Join(err, p.blob.Close())
		p.blob = nil
	}
	return err
}

// first returns the part in which the byte at off lies, or the one after the
// last.
func (f *File) first(off int64) int {
	i, _ := slices.BinarySearchFunc(f.entry.Extents, off, func(x efs.Extent, off int64) int {
		if x.Offset+x.Length <= off {
			return -1
		}
		return 1
	})
	return i
}

// still returns efs.ErrNotFound unless the file still has the contents that
// were pinned for it: then none of them is deleted before it is closed.
func (f *File) still(ctx context.Context) error {
	now, err := f.fs.byFile(ctx, f.entry.File)
	if err != nil {
		return err
	}
	if now == nil || !slices.Equal(now.Extents, f.entry.Extents) {
		return fmt.Errorf("file %s: %w: it was replaced", f.entry.File, efs.ErrNotFound)
	}
	return nil
}
