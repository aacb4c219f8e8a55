package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
)

// Pruned tells what Prune removed.
type Pruned struct {
	Backups  []string `json:"backups"`
	Contents int64    `json:"contents"`
	Bytes    int64    `json:"bytes"`
}

// Prune removes all but the newest keep backups, and then the contents that no
// backup refers to. Manifests go first, so that no backup is ever there without
// its contents; after a crash, the next Prune removes the rest.
func (r *Repository) Prune(ctx context.Context, keep int) (p Pruned, err error) {
	if keep < 1 {
		return p, fmt.Errorf("%w: at least one backup is kept", efs.ErrBadInput)
	}
	all, err := r.List()
	if err != nil {
		return p, err
	}
	gone := all[:max(0, len(all)-keep)]
	for _, m := range gone {
		if err := os.Remove(r.path(backupsDir, m.Name+".json")); err != nil {
			return p, err
		}
		p.Backups = append(p.Backups, m.Name)
	}
	if err := atomicfile.SyncDir(r.path(backupsDir)); err != nil {
		return p, err
	}
	if err := r.removeUnfinished(); err != nil {
		return p, err
	}
	err = r.removeUnused(ctx, all[len(gone):], &p)
	return p, err
}

// removeUnused deletes contents that none of the given backups refers to.
func (r *Repository) removeUnused(ctx context.Context, kept []Manifest, p *Pruned) error {
	var used []efs.ID
	for _, m := range kept {
		err := r.eachContent(m.Name, func(c Content) error { used = append(used, c.ID); return nil })
		if err != nil {
			return err
		}
		slices.SortFunc(used, compareID)
		used = slices.Compact(used)
	}
	var unused []efs.BlobInfo
	err := r.blobs.Walk(ctx, func(b efs.BlobInfo) error {
		if _, found := slices.BinarySearchFunc(used, b.ID, compareID); !found {
			unused = append(unused, b)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, b := range unused {
		if err := r.blobs.Remove(ctx, b.ID); err != nil && !errors.Is(err, efs.ErrNotFound) {
			return err
		}
		p.Contents++
		p.Bytes += b.Size
	}
	return nil
}

func compareID(a, b efs.ID) int { return slices.Compare(a[:], b[:]) }
