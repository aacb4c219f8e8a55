package salvage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/efs-project/efs"
)

// blobs finds contents below a directory, whatever their fan-out is. Nothing
// that a symbolic link leads out of it to is opened.
type blobs struct {
	root   *os.Root
	levels int // of the fan-out, as the last one found had them; -1: not known yet
}

// freshDir is where contents lie that were not moved to their place yet.
const freshDir = ".new"

const maxLevels = 4

func openBlobs(dir string) (*blobs, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the contents: %w", err)
	}
	return &blobs{root: root, levels: -1}, nil
}

type blob struct {
	*os.File
	size int64
}

// open opens a content. efs.ErrNotFound.
func (b *blobs) open(id efs.ID) (*blob, error) {
	if b.levels >= 0 {
		f, err := b.openAt(placeOf(id, b.levels))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	for levels := range maxLevels {
		f, err := b.openAt(placeOf(id, levels))
		if err == nil {
			b.levels = levels
		}
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	f, err := b.openAt(path.Join(freshDir, id.String()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: content %s", efs.ErrNotFound, id)
	}
	return f, err
}

// placeOf is where a content lies, below so many directories.
func placeOf(id efs.ID, levels int) string {
	name := id.String()
	place := ""
	for i := range levels {
		place += name[2*i:2*i+2] + "/"
	}
	return place + name
}

func (b *blobs) openAt(name string) (*blob, error) {
	info, err := b.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file", efs.ErrDamaged, name)
	}
	f, err := b.root.Open(name)
	if err != nil {
		return nil, err
	}
	return &blob{f, info.Size()}, nil
}

// walk calls fn for every content there is; one that lies in two places, twice.
func (b *blobs) walk(ctx context.Context, fn func(id efs.ID) error) error {
	return b.walkDir(ctx, ".", 0, fn)
}

func (b *blobs) walkDir(ctx context.Context, name string, depth int, fn func(efs.ID) error) error {
	d, err := b.root.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // only read
	for {
		entries, err := d.ReadDir(1024)
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := b.walkEntry(ctx, name, depth, e, fn); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (b *blobs) walkEntry(ctx context.Context, dir string, depth int, e fs.DirEntry, fn func(efs.ID) error) error {
	name := e.Name()
	if e.IsDir() {
		if len(name) == 2 && depth < maxLevels || depth == 0 && name == freshDir {
			return b.walkDir(ctx, path.Join(dir, name), depth+1, fn)
		}
		return nil
	}
	if id, err := efs.ParseID(name); err == nil && id.String() == name && e.Type().IsRegular() {
		return fn(id)
	}
	return nil
}

func (b *blobs) Close() error { return b.root.Close() }
