package backup

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/internal/blob/dir"
	"github.com/efs-project/efs/internal/journal"
)

// Source is what is backed up: a file system as of one change, which stays as
// it is for as long as it takes. *fsys.View has it.
type Source interface {
	Index() efs.IndexSnapshot
	Contents(ctx context.Context, fn func(id efs.ID, inline bool, sealed int64) error) error
	Usages(ctx context.Context) (map[efs.ID]efs.Usage, error)
}

// Job says what a backup is made of.
type Job struct {
	Source   Source
	Blobs    efs.Blobs // where the contents lie
	Key      []byte    // of checkpoints (journal.Purpose); the caller wipes it
	Link     bool      // contents may be linked rather than copied
	Now      func() time.Time
	Progress func(done, total int64) // bytes of contents; nil: nobody is told
}

// Make makes a backup: whole when it returns nil, and not there else. Contents
// that an attempt which was cut off, or an earlier backup, has copied are not
// copied again if they have the right length. A content that is missing or cut
// off at its source does not stop it; the manifest says how many are.
func (r *Repository) Make(ctx context.Context, j Job) (Manifest, error) {
	if err := r.removeUnfinished(); err != nil {
		return Manifest{}, err
	}
	head := j.Source.Index().Head()
	begun := j.Now().UTC().Truncate(time.Second)
	m := Manifest{
		Format: Format, FS: r.about.FS, FSName: r.about.Name, Sequence: head.Seq, Revision: head.Revision,
		FanOut: j.Blobs.Layout().FanOut, Begun: begun,
	}
	if head.FS != r.about.FS {
		return m, fmt.Errorf("%w: these are backups of another file system", efs.ErrConflict)
	}
	all, err := r.List()
	if err != nil {
		return m, err
	}
	m.Number = 1
	if len(all) > 0 {
		m.Number = all[len(all)-1].Number + 1
	}
	m.Name = r.freeName(begun, head.Seq)
	err = r.make(ctx, j, &m)
	if err != nil {
		err = errors.Join(fmt.Errorf("backing up to '%s': %w", r.dir, noSpace(err)), r.removeUnfinished())
	}
	return m, err
}

// freeName names a backup by the time and the sequence number.
func (r *Repository) freeName(begun time.Time, seq uint64) string {
	base := fmt.Sprintf("%s-%d", begun.Format("20060102T150405Z"), seq)
	name := base
	for i := 2; ; i++ {
		if _, err := os.Lstat(r.path(backupsDir, name+".json")); errors.Is(err, os.ErrNotExist) {
			return name
		}
		name = fmt.Sprintf("%s.%d", base, i)
	}
}

func (r *Repository) make(ctx context.Context, j Job, m *Manifest) error {
	var all []Content
	err := j.Source.Contents(ctx, func(id efs.ID, inline bool, sealed int64) error {
		if !inline {
			all = append(all, Content{id, sealed})
			m.ContentBytes += sealed
		}
		return nil
	})
	if err != nil {
		return err
	}
	sortContents(all)
	m.Contents = int64(len(all))
	if m.Usage, err = j.Source.Usages(ctx); err != nil {
		return err
	}
	m.Files, m.Bytes = m.Usage[m.FS].Files, m.Usage[m.FS].Bytes
	if err := r.copyContents(ctx, j, all, m); err != nil {
		return err
	}
	if m.IndexBytes, err = r.writeFile(r.indexPath(m.Name), func(w *bufio.Writer) error {
		return journal.WriteCheckpoint(ctx, w, j.Key, j.Source.Index())
	}); err != nil {
		return err
	}
	if m.ContentsBytes, err = r.writeFile(r.listPath(m.Name), func(w *bufio.Writer) error { return writeList(w, all) }); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.Ended = j.Now().UTC().Truncate(time.Millisecond)
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(r.path(backupsDir, m.Name+".json"), append(b, '\n'), fileMode)
}

// copyContents copies what is not there yet.
func (r *Repository) copyContents(ctx context.Context, j Job, all []Content, m *Manifest) (err error) {
	bulk := r.blobs.Bulk(j.Link)
	defer func() {
		if err != nil {
			bulk.Abort()
		}
	}()
	done := int64(0)
	for _, c := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		size, err := r.blobs.Size(c.ID)
		switch {
		case err == nil && size == c.Sealed:
		case err == nil, errors.Is(err, efs.ErrNotFound):
			if err := r.copyContent(ctx, j, bulk, c, m); err != nil {
				return err
			}
		default:
			return err
		}
		if done += c.Sealed; j.Progress != nil {
			j.Progress(done, m.ContentBytes)
		}
	}
	return bulk.Flush()
}

func (r *Repository) copyContent(ctx context.Context, j Job, bulk *dir.Bulk, c Content, m *Manifest) error {
	b, err := j.Blobs.Open(ctx, c.ID)
	if errors.Is(err, efs.ErrNotFound) || errors.Is(err, efs.ErrDamaged) {
		m.Lost++
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }() // only read
	if b.Size() != c.Sealed {
		m.Lost++
		return nil
	}
	if err := bulk.Add(ctx, c.ID, b); err != nil {
		return err
	}
	m.Copied++
	m.CopiedBytes += c.Sealed
	return nil
}

// writeFile writes a file that is there whole or not at all, and returns its
// length.
func (r *Repository) writeFile(path string, write func(*bufio.Writer) error) (n int64, err error) {
	f, err := os.OpenFile(path+partSuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	if err = write(w); err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if info, serr := f.Stat(); serr == nil {
		n = info.Size()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	if err := os.Rename(path+partSuffix, path); err != nil {
		return 0, err
	}
	return n, atomicfile.SyncDir(filepath.Dir(path))
}

// removeUnfinished removes what backups without a manifest have left, but for
// contents, which the next one uses.
func (r *Repository) removeUnfinished() error {
	all, err := r.List()
	if err != nil {
		return err
	}
	whole := map[string]bool{}
	for _, m := range all {
		whole[m.Name+indexSuffix], whole[m.Name+listSuffix] = true, true
	}
	names, err := os.ReadDir(r.path(indexDir))
	if err != nil {
		return err
	}
	for _, n := range names {
		ours := strings.HasSuffix(n.Name(), indexSuffix) || strings.HasSuffix(n.Name(), listSuffix) || strings.HasSuffix(n.Name(), partSuffix)
		if ours && !whole[n.Name()] {
			if err := os.Remove(r.path(indexDir, n.Name())); err != nil {
				return err
			}
		}
	}
	return atomicfile.CleanUp(r.path(backupsDir))
}
