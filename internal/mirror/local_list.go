package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"unicode/utf8"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/stage"
	"github.com/efs-project/efs/internal/treesync"
)

// walker lists directories, several at once: most of the time goes into one
// system call for each file.
type walker struct {
	ctx     context.Context
	l       *local
	deep    bool
	filter  *treesync.Filter
	trouble func(error)

	sem chan struct{} // taken by whoever lists a directory beside its parent
	wg  sync.WaitGroup
	mu  sync.Mutex
	out []treesync.Node
}

func (l *local) list(ctx context.Context, dir string, deep bool, f *treesync.Filter, trouble func(error)) ([]treesync.Node, error) {
	if l.root == nil {
		return nil, errNotThere
	}
	if dir == "" {
		l.parts.Store(0)
	}
	for i := range dir + "/" {
		if dir == "" || i < len(dir) && dir[i] != '/' {
			continue
		}
		if n, err := l.lstat(dir[:i]); err != nil || n == nil || n.Kind != treesync.Dir {
			return nil, errors.Join(errNotThere, err) // a link, perhaps: nothing is looked at through it
		}
	}
	w := &walker{ctx: ctx, l: l, deep: deep, filter: f, trouble: trouble, sem: make(chan struct{}, 2*runtime.NumCPU())}
	entries, err := w.read(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNotThere
	}
	if err != nil {
		return nil, err
	}
	w.take(dir, entries)
	w.wg.Wait()
	return w.out, ctx.Err()
}

func (w *walker) read(dir string) ([]fs.DirEntry, error) {
	name := w.l.dir
	if dir != "" {
		p, err := osPath(dir)
		if err != nil {
			return nil, err
		}
		name = filepath.Join(name, p)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1) // in no order: all is sorted at the end
}

// take looks at what is in dir.
func (w *walker) take(dir string, entries []fs.DirEntry) {
	nodes := make([]treesync.Node, 0, len(entries))
	prefix := ""
	if dir != "" {
		prefix = dir + "/"
	}
	for _, e := range entries {
		if w.ctx.Err() != nil {
			return
		}
		path := prefix + e.Name()
		if w.filter.Excludes(path, e.IsDir()) {
			continue
		}
		if stage.IsTemporary(e.Name()) {
			w.l.parts.Add(1)
			continue
		}
		if why := unfit(path, e.Name()); why != "" {
			if w.l.source {
				w.complain(fmt.Errorf("%q: %w: %s", w.l.name(path), errUnfit, why))
			}
			continue
		}
		n, err := w.look(path, e)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed while the directory was read
		}
		if err != nil {
			w.complain(err)
			continue
		}
		nodes = append(nodes, n)
		if n.Kind == treesync.Dir && w.deep {
			w.descend(path)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = append(w.out, nodes...)
}

func (w *walker) look(path string, e fs.DirEntry) (treesync.Node, error) {
	fi, err := e.Info()
	if err != nil {
		return treesync.Node{}, err
	}
	n := nodeOf(path, fi)
	if n.Kind == treesync.Symlink {
		n.Target, err = os.Readlink(w.l.name(path))
	}
	return n, err
}

// descend lists a directory, beside this one if somebody is free.
func (w *walker) descend(dir string) {
	list := func() {
		entries, err := w.read(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.complain(err)
		}
		w.take(dir, entries)
	}
	select {
	case w.sem <- struct{}{}:
		w.wg.Go(func() {
			defer func() { <-w.sem }()
			list()
		})
	default:
		list()
	}
}

func (w *walker) complain(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trouble(err)
}

var errUnfit = errors.New("a file system cannot hold it")

// unfit tells why a file system cannot hold a path, "" if it can.
func unfit(path, name string) string {
	switch {
	case !utf8.ValidString(name):
		return "the name is not UTF-8"
	case len(name) > efs.MaxSegment:
		return fmt.Sprintf("the name is longer than %d bytes", efs.MaxSegment)
	case len(path) > efs.MaxPath:
		return fmt.Sprintf("the path is longer than %d bytes", efs.MaxPath)
	}
	return ""
}
