// Package fsarchive makes archives (package archive) of file systems: of a view,
// which is one moment, however long clients go on writing.
package fsarchive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/efs-project/efs"
)

// ErrNeedsFull: what changed cannot be told from the change log. A full archive
// can be made.
var ErrNeedsFull = errors.New("an incremental archive cannot be made: make a full one")

// What an incremental archive keeps in memory at most.
const (
	maxChanged = 1 << 20  // ids of what changed
	maxRemoved = 16 << 20 // bytes of removed paths
)

// Log reads the change log, as fsys.FS does.
type Log interface {
	Changes(ctx context.Context, since uint64, limit int) ([]efs.Change, error)
}

// delta is what changed below a path between two sequence numbers.
//
// A path that was there before and is there no more was removed or moved away by
// name, or a directory above it was; so it lies at or below one of removed. What
// of that is there again came later: it was created, replaced or moved there, or
// a directory above it was moved. So it is among changed, or below one of moved.
type delta struct {
	changed map[efs.ID]struct{} // entries that came to be, were replaced or patched
	moved   map[efs.ID]struct{} // directories that came from elsewhere, with all below them
	removed []string            // paths below the archive's root
	bytes   int                 // of them
	all     bool                // the root itself is another one now
}

// readDelta reads the log from after since up to and with upTo.
func readDelta(ctx context.Context, log Log, path string, since, upTo uint64) (*delta, error) {
	d := &delta{changed: map[efs.ID]struct{}{}, moved: map[efs.ID]struct{}{}}
	for at := since; at < upTo; {
		page, err := log.Changes(ctx, at, int(min(upTo-at, 500)))
		if errors.Is(err, efs.ErrLogTruncated) {
			return nil, fmt.Errorf("%w: the change log does not reach back to change %d any more", ErrNeedsFull, since)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the changes since %d: %w", at, err)
		}
		if len(page) == 0 {
			return nil, fmt.Errorf("reading the changes since %d: %w: the log ends before change %d", at, efs.ErrDamaged, upTo)
		}
		for i := range page {
			if err := d.add(&page[i], path); err != nil {
				return nil, err
			}
		}
		at = page[len(page)-1].Seq
	}
	slices.Sort(d.removed)
	d.removed = slices.Compact(d.removed)
	if d.all {
		d.removed = []string{"."}
	}
	return d, nil
}

// add takes up a change.
func (d *delta) add(c *efs.Change, root string) error {
	switch c.Op {
	case efs.OpAccess:
		return nil
	case efs.OpForgotten:
		return fmt.Errorf("%w: an erasure unit was forgotten, and what had been changed in it with it", ErrNeedsFull)
	case efs.OpDelete, efs.OpDeleteTree:
		d.remove(c.Path, root)
	case efs.OpMove:
		d.remove(c.From, root)
		if c.After != nil && c.After.Kind == efs.KindDir {
			d.moved[c.After.File] = struct{}{}
		}
		if _, in := below(c.Path, root); !in {
			d.all = d.all || above(c.Path, root)
		}
	}
	if _, in := below(c.Path, root); in && c.After != nil {
		d.changed[c.After.File] = struct{}{}
	}
	if len(d.changed)+len(d.moved) > maxChanged || d.bytes > maxRemoved {
		return fmt.Errorf("%w: too much has changed", ErrNeedsFull)
	}
	return nil
}

func (d *delta) remove(path, root string) {
	if rel, in := below(path, root); in && rel != "" {
		d.removed = append(d.removed, rel)
		d.bytes += len(rel)
		if len(d.removed)%4096 == 0 { // files that come and go have the same names
			slices.Sort(d.removed)
			d.removed = slices.Compact(d.removed)
			d.bytes = 0
			for _, p := range d.removed {
				d.bytes += len(p)
			}
		}
		return
	}
	d.all = d.all || above(path, root)
}

// below returns path as seen from root ("" for root itself), if it is at or
// below it.
func below(path, root string) (string, bool) {
	switch {
	case root == "":
		return path, true
	case path == root:
		return "", true
	}
	return strings.CutPrefix(path, root+"/")
}

// above reports whether path is root or a directory above it.
func above(path, root string) bool {
	return path == "" || path == root || strings.HasPrefix(root, path+"/")
}
