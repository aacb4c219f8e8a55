package fsarchive

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/internal/fsys"
)

// Source is a file system whose views are archived.
type Source struct {
	Name string
	ID   efs.ID
	View *fsys.View
	Log  Log // of the live file system, for incremental archives
}

// Options says what is archived.
type Options struct {
	Path  string // of a directory, or of a file alone; without slashes around it
	Since uint64 // what changed after this change; 0: everything
}

// Archive is an archive about to be written.
type Archive struct {
	src    Source
	o      Options
	prefix string // what the names of members lack
	delta  *delta // nil: everything
}

// Prepare finds out whether the archive can be made, and reads what changed.
// efs.ErrNotFound where there is nothing at the path, efs.ErrBadInput where
// Since lies in the future, ErrNeedsFull.
func Prepare(ctx context.Context, src Source, o Options) (*Archive, error) {
	a := &Archive{src: src, o: o}
	if o.Path != "" {
		e, err := src.View.Stat(ctx, o.Path)
		if err != nil {
			return nil, err
		}
		if a.prefix = o.Path + "/"; e.Kind != efs.KindDir {
			a.prefix = strings.TrimSuffix(o.Path, path.Base(o.Path))
		}
	}
	if o.Since > src.View.Seq() {
		return nil, fmt.Errorf("%w: there is no change %d yet; the last one is %d", efs.ErrBadInput, o.Since, src.View.Seq())
	}
	if o.Since > 0 {
		var err error
		if a.delta, err = readDelta(ctx, src.Log, o.Path, o.Since, src.View.Seq()); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Info is the head of the archive.
func (a *Archive) Info(now time.Time) archive.Info {
	return archive.Info{
		FS: a.src.Name, FSID: a.src.ID.String(), Path: "/" + a.o.Path,
		Sequence: a.src.View.Seq(), Since: a.o.Since, Created: now.Truncate(time.Second),
	}
}

// smallFile is up to which size files are read ahead of the writing, in bytes;
// readAhead how many of them.
const (
	smallFile = 64 << 10
	readAhead = 64
)

// job is a member on its way: what it is, and what it holds.
type job struct {
	path  string
	entry efs.Entry
	ready chan struct{} // closed when the rest is set
	data  []byte        // of a small file
	file  *fsys.File    // of another one
	err   error
}

// Write writes the archive's tar to w, which should be buffered. What was
// forgotten meanwhile is left out. After an error what was written is none.
func (a *Archive) Write(ctx context.Context, w io.Writer, now time.Time) error {
	out, err := archive.NewWriter(w, a.Info(now))
	if err != nil {
		return err
	}
	if a.delta != nil {
		if err := out.Removed(a.delta.removed); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	queue := make(chan *job, readAhead) // in the order of the archive
	reads := make(chan *job, readAhead)
	var tasks sync.WaitGroup
	for range min(4, runtime.GOMAXPROCS(0)) {
		tasks.Go(func() {
			for j := range reads {
				a.read(ctx, j)
				close(j.ready)
			}
		})
	}
	var walked error
	tasks.Go(func() {
		defer close(queue)
		defer close(reads)
		walked = a.walk(ctx, queue, reads)
	})
	for j := range queue {
		<-j.ready
		if err == nil {
			err = a.member(ctx, out, j)
		}
		if j.file != nil {
			err = errors.Join(err, j.file.Close())
		}
		if err != nil {
			cancel()
		}
	}
	cancel()
	tasks.Wait()
	if err == nil {
		err = walked
	}
	if err != nil {
		return err
	}
	return out.Close()
}

// read gets the contents of a member.
func (a *Archive) read(ctx context.Context, j *job) {
	if j.entry.Kind != efs.KindFile {
		return
	}
	f, err := a.src.View.Open(ctx, j.path, &j.entry)
	if err != nil {
		j.err = err
		return
	}
	if j.entry.Size > smallFile {
		j.file = f
		return
	}
	j.data = make([]byte, j.entry.Size)
	n, err := f.ReadAt(j.data, 0)
	if err == io.EOF && n == len(j.data) {
		err = nil
	}
	j.err = errors.Join(err, f.Close())
}

// member writes one member.
func (a *Archive) member(ctx context.Context, out *archive.Writer, j *job) error {
	if errors.Is(j.err, efs.ErrForgotten) {
		return nil
	}
	if err := errors.Join(j.err, ctx.Err()); err != nil {
		return fmt.Errorf("archiving file %s: %w", j.entry.File, err)
	}
	err := out.Member(memberOf(strings.TrimPrefix(j.path, a.prefix), &j.entry))
	switch {
	case err != nil:
	case j.file != nil:
		err = j.file.WriteRange(out, 0, -1)
	case len(j.data) > 0:
		_, err = out.Write(j.data)
	}
	if err != nil {
		return fmt.Errorf("archiving file %s: %w", j.entry.File, err)
	}
	return nil
}

// walk passes on what is to be archived. Directories on the way to it come
// before it.
func (a *Archive) walk(ctx context.Context, queue, reads chan<- *job) error {
	w := walker{a: a, pass: func(p string, e *efs.Entry) error {
		j := &job{path: p, entry: *e, ready: make(chan struct{})}
		select {
		case queue <- j:
		case <-ctx.Done():
			return ctx.Err()
		}
		reads <- j // it has as much room
		return nil
	}}
	return a.src.View.Walk(ctx, a.o.Path, w.visit)
}

// walker finds out which entries of a walk belong to the archive.
type walker struct {
	a     *Archive
	pass  func(path string, e *efs.Entry) error
	way   []efs.Entry // directories above, whose members have not been written
	names []string    // their paths
	whole string      // a directory that was moved with all below it
}

func (w *walker) visit(p string, e *efs.Entry) error {
	d := w.a.delta
	if p == w.a.o.Path && e.Kind == efs.KindDir {
		return nil // the root is no member
	}
	if d == nil || d.all {
		return w.pass(p, e)
	}
	for len(w.names) > 0 && !strings.HasPrefix(p, w.names[len(w.names)-1]+"/") {
		w.names, w.way = w.names[:len(w.names)-1], w.way[:len(w.way)-1]
	}
	if w.whole != "" && !strings.HasPrefix(p, w.whole+"/") {
		w.whole = ""
	}
	_, changed := d.changed[e.File]
	if _, moved := d.moved[e.File]; moved && w.whole == "" {
		changed, w.whole = true, p
	}
	if !changed && w.whole == "" {
		if e.Kind == efs.KindDir {
			w.names, w.way = append(w.names, p), append(w.way, *e)
		}
		return nil
	}
	for i := range w.way {
		if err := w.pass(w.names[i], &w.way[i]); err != nil {
			return err
		}
	}
	w.names, w.way = w.names[:0], w.way[:0]
	return w.pass(p, e)
}

// memberOf describes an entry.
func memberOf(name string, e *efs.Entry) *archive.Member {
	m := &archive.Member{
		Name: name, Kind: e.Kind, Mode: e.Mode, Modified: time.UnixMicro(e.Modified).UTC(), Created: time.UnixMicro(e.Created).UTC(),
		Type: e.Type, Meta: e.Meta, Target: e.Target, Version: e.Version, Owner: e.Owner,
	}
	if e.Kind == efs.KindFile {
		m.Size = e.Size
		if e.DigestKind == efs.DigestFull {
			m.SHA256 = hex.EncodeToString(e.Digest)
		}
	}
	return m
}
