package node

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/backup"
	"github.com/efs-project/efs/internal/blob/dir"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/index/bolt"
)

// DrillReport tells what came of a drill.
type DrillReport struct {
	FS          string       `json:"fs"`
	Backup      string       `json:"backup"` // its name
	Sequence    uint64       `json:"sequence"`
	Made        bool         `json:"made"` // for the drill; else one that was there
	Directories int64        `json:"directories"`
	Files       int64        `json:"files"`
	Symlinks    int64        `json:"symlinks"`
	Bytes       int64        `json:"bytes"`    // read and compared
	Compared    int64        `json:"compared"` // entries that are in service as they were, and were compared with those too
	Lost        int64        `json:"lost"`     // contents that the backup does not have
	Seconds     float64      `json:"seconds"`
	Differences []Difference `json:"differences"`
}

// Difference is what a drill found wrong.
type Difference struct {
	Path string `json:"path"`
	What string `json:"what"`
}

const (
	drillPrefix    = ".drill-"
	maxDifferences = 1000
)

// Drill restores a file system from a backup into a directory of its own,
// apart from the one in service, and reads every file of it. With an empty dir
// the backup is made for the drill, with contents linked where the volume has
// links; then every entry is compared with the one in service as of the same
// change. Of a backup that is there (the newest in dir), entries are compared
// that have not changed since. Nothing decrypted is written anywhere.
func (n *Node) Drill(ctx context.Context, name, dir string, progress func(done, total int64)) (out DrillReport, err error) {
	ctx, cancel := n.untilClosed(ctx)
	defer cancel()
	began := time.Now()
	f, err := n.FS(name)
	if err != nil {
		return out, err
	}
	home := filepath.Dir(f.parts.places.files)
	scratch, err := os.MkdirTemp(home, drillPrefix)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, removeTree(context.WithoutCancel(ctx), scratch)) }()
	d := &drill{n: n, f: f, scratch: scratch, out: &out}
	out.FS, out.Differences = name, []Difference{}
	if err := d.run(ctx, dir, progress); err != nil {
		return out, fmt.Errorf("drill of file system %s: %w", name, err)
	}
	out.Seconds = time.Since(began).Round(time.Millisecond).Seconds()
	slices.SortFunc(out.Differences, func(a, b Difference) int { return cmp.Compare(a.Path, b.Path) })
	n.log.Info("drill done", "fs", name, "sequence", out.Sequence, "files", out.Files, "differences", len(out.Differences))
	return out, nil
}

// removeDrills removes what drills have left that were cut off.
func removeDrills(ctx context.Context, home string) error {
	names, err := os.ReadDir(home)
	for _, e := range names {
		if strings.HasPrefix(e.Name(), drillPrefix) {
			err = errors.Join(err, removeTree(ctx, filepath.Join(home, e.Name())))
		}
	}
	return err
}

type drill struct {
	n       *Node
	f       *FileSystem
	scratch string

	mu  sync.Mutex // guards out
	out *DrillReport
}

func (d *drill) differs(path, format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.out.Differences) < maxDifferences {
		d.out.Differences = append(d.out.Differences, Difference{"/" + path, fmt.Sprintf(format, args...)})
	}
}

func (d *drill) run(ctx context.Context, path string, progress func(done, total int64)) (err error) {
	live, err := d.f.Snapshot(ctx, "drill")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, live.Close()) }()
	repo, m, err := d.repository(ctx, path, live)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, repo.Close()) }()
	d.out.Backup, d.out.Sequence, d.out.Made = m.Name, m.Sequence, path == ""
	restored := RestoreResult{Manifest: m}
	to := unpacking{index: filepath.Join(d.scratch, "index.db"), files: filepath.Join(d.scratch, "files"), link: true}
	if _, err := d.n.unpack(ctx, d.f.ID(), d.f.parts.keys, repo, &restored, to, nil); err != nil {
		return err
	}
	d.out.Lost = m.Lost + restored.Lost
	return d.open(ctx, to, live, progress)
}

// repository returns the one at path, with its newest backup, or makes one.
func (d *drill) repository(ctx context.Context, path string, live *fsys.View) (repo *backup.Repository, m backup.Manifest, err error) {
	if path != "" {
		if repo, err = backup.Open(path); err != nil {
			return nil, m, err
		}
		if repo.About().FS != d.f.ID() {
			err = fmt.Errorf("%w: the backups in '%s' are of file system '%s'", efs.ErrConflict, path, repo.About().Name)
		} else {
			m, err = repo.Find("")
		}
	} else {
		about := backup.About{FS: d.f.ID(), Name: d.f.Name(), Created: d.n.clock().UTC()}
		if repo, err = backup.Create(filepath.Join(d.scratch, "backup"), about); err != nil {
			return nil, m, err
		}
		m, err = d.f.backUp(ctx, d.n, repo, live, true, nil)
	}
	if err != nil {
		err = errors.Join(err, repo.Close())
	}
	return repo, m, err
}

// open opens what was restored, for reading, and compares it.
func (d *drill) open(ctx context.Context, at unpacking, live *fsys.View, progress func(done, total int64)) (err error) {
	sealer, err := fsys.HeadSealer(d.f.ID(), d.f.parts.keys)
	if err != nil {
		return err
	}
	index, err := bolt.Open(at.index, d.f.ID(), sealer, bolt.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, index.Close()) }()
	snapshot, err := index.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	blobs, err := dir.Open(at.files, dir.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blobs.Close()) }()
	o := fsys.Options{ID: d.f.ID(), Name: d.f.Name(), Blobs: blobs, Keys: d.f.parts.keys, Logger: d.n.log, Clock: d.n.clock}
	view, err := fsys.ViewOf(ctx, o, snapshot)
	if err != nil {
		return err
	}
	return d.compare(ctx, view, live, progress)
}

type visited struct {
	path  string
	entry *efs.Entry
}

// compare reads all files of what was restored, in parallel.
func (d *drill) compare(ctx context.Context, restored, live *fsys.View, progress func(done, total int64)) error {
	usage, err := restored.Usage(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan visited, 64)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for v := range todo {
				if err := d.look(ctx, restored, live, v); err != nil {
					cancel(err)
				}
				if progress != nil {
					d.mu.Lock()
					progress(d.out.Bytes, usage.Bytes)
					d.mu.Unlock()
				}
			}
		})
	}
	err = restored.Walk(ctx, "/", func(path string, e *efs.Entry) error {
		select {
		case todo <- visited{path, e}:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	close(todo)
	workers.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	if err == nil && d.out.Made {
		err = d.missing(ctx, restored, live)
	}
	return err
}

// look compares one entry, and reads its contents. The error is about the
// drill itself.
func (d *drill) look(ctx context.Context, restored, live *fsys.View, v visited) error {
	was, err := live.Stat(ctx, v.path)
	switch {
	case errors.Is(err, efs.ErrNotFound) || errors.Is(err, efs.ErrNotDir):
		if d.out.Made {
			d.differs(v.path, "is in the backup alone")
		}
	case err != nil:
		return err
	case was.File == v.entry.File && was.Version == v.entry.Version || d.out.Made:
		d.mu.Lock()
		d.out.Compared++
		d.mu.Unlock()
		if what := unlike(&was, v.entry); what != "" {
			d.differs(v.path, "has another %s than the one in service", what)
		}
	}
	switch v.entry.Kind {
	case efs.KindDir:
		d.mu.Lock()
		d.out.Directories++
		d.mu.Unlock()
		return nil
	case efs.KindSymlink:
		d.mu.Lock()
		d.out.Symlinks++
		d.mu.Unlock()
		return nil
	case efs.KindFile:
		return d.read(ctx, restored, v)
	}
	return nil
}

// unlike says in what two entries differ.
func unlike(a, b *efs.Entry) string {
	switch {
	case a.File != b.File:
		return "file id"
	case a.Kind != b.Kind:
		return "kind"
	case a.Version != b.Version || a.ETag != b.ETag:
		return "version"
	case a.Size != b.Size || string(a.Digest) != string(b.Digest):
		return "digest"
	case a.Type != b.Type || a.Mode != b.Mode || a.Target != b.Target || a.Modified != b.Modified || len(a.Meta) != len(b.Meta):
		return "attribute"
	}
	return ""
}

// read reads a file whole and compares its digest.
func (d *drill) read(ctx context.Context, restored *fsys.View, v visited) error {
	f, err := restored.Open(ctx, v.path, v.entry)
	if err == nil {
		sum := sha256.New()
		err = errors.Join(f.WriteRange(sum, 0, -1), f.Close())
		if err == nil && v.entry.DigestKind == efs.DigestFull && string(sum.Sum(nil)) != string(v.entry.Digest) {
			err = fmt.Errorf("%w: another digest than that of its entry", efs.ErrDamaged)
		}
	}
	switch {
	case errors.Is(err, efs.ErrForgotten):
		return nil // meanwhile, on purpose
	case errors.Is(err, efs.ErrDamaged):
		d.differs(v.path, "%v", err)
	case err != nil:
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out.Files++
	d.out.Bytes += v.entry.Size
	return nil
}

// missing finds what is in service and was not restored.
func (d *drill) missing(ctx context.Context, restored, live *fsys.View) error {
	return live.Walk(ctx, "/", func(path string, _ *efs.Entry) error {
		_, err := restored.Stat(ctx, path)
		if errors.Is(err, efs.ErrNotFound) {
			d.differs(path, "is not in the backup")
			return nil
		}
		return err
	})
}
