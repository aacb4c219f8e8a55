package client

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// File reads any part of one version of a file, each part with a request of
// its own: for formats that jump about (archives, images, databases). Wrap it
// in an io.SectionReader or a bufio.Reader to read small pieces in order.
//
// Every request is pinned to the ETag that Open saw. If the file is replaced
// or removed, ReadAt returns ErrConflict, never bytes of another version.
type File struct {
	c     *Client
	ctx   context.Context
	entry Entry
}

var (
	_ io.ReaderAt = (*File)(nil)
	_ io.Closer   = (*File)(nil)
)

// Open looks the file at path up and pins its version. ctx bounds the reads
// too. The File is safe for concurrent use.
func (c *Client) Open(ctx context.Context, path string) (*File, error) {
	e, err := c.Stat(ctx, path)
	if err != nil {
		return nil, err
	}
	if e.IsDir() {
		return nil, fmt.Errorf("opening %s: %w", path, ErrIsDir)
	}
	if e.IsSymlink() {
		return nil, fmt.Errorf("opening %s: %w", path, ErrSymlink)
	}
	return &File{c: c, ctx: ctx, entry: *e}, nil
}

// Entry describes the version that is open.
func (f *File) Entry() Entry { return f.entry }

// Size returns the length of the version that is open, in bytes.
func (f *File) Size() int64 { return f.entry.Size }

// ReadAt fills p from offset off on, as io.ReaderAt demands.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading %s: %w: negative offset", f.entry.Path, ErrBadInput)
	}
	if off >= f.entry.Size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	want := min(int64(len(p)), f.entry.Size-off)
	body, err := f.c.get(f.ctx, f.entry.Path, off, want, f.entry.ETag)
	if errors.Is(err, ErrPrecondition) || errors.Is(err, ErrNotFound) {
		return 0, &opError{"reading " + f.entry.Path, errReplaced}
	}
	if err != nil {
		return 0, err
	}
	defer body.Close()
	n, err := io.ReadFull(body, p[:want])
	if err == nil && want < int64(len(p)) {
		err = io.EOF
	}
	return n, err
}

// Close ends the use of the file. The server holds nothing for it.
func (f *File) Close() error { return nil }
