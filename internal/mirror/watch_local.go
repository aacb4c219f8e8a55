package mirror

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/fsnotify/fsnotify"

	"github.com/efs-project/efs/internal/stage"
	"github.com/efs-project/efs/internal/treesync"
)

// localWatcher watches every directory of a tree on this machine: what the
// system offers watches one directory each.
type localWatcher struct {
	w      *fsnotify.Watcher
	l      *local
	filter *treesync.Filter
	out    chan dirty
	stop   chan struct{}
	done   sync.WaitGroup
	failed error

	watched map[string]bool // of the loop alone, once it runs
}

func watchLocal(l *local, f *treesync.Filter) (watcher, error) {
	if err := l.refresh(); err != nil {
		return nil, fmt.Errorf("%s: %w", l.dir, err)
	}
	w, err := fsnotify.NewBufferedWatcher(4096)
	if err != nil {
		return nil, unwatchable(err)
	}
	lw := &localWatcher{w: w, l: l, filter: f, out: make(chan dirty), stop: make(chan struct{}), watched: map[string]bool{}}
	if err := lw.add(""); err != nil {
		_ = w.Close() // nothing was watched yet
		return nil, err
	}
	lw.done.Go(lw.loop)
	return lw, nil
}

func unwatchable(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) {
		return fmt.Errorf("%w: the system allows no more watches: raise fs.inotify.max_user_watches and fs.inotify.max_user_instances (sysctl): %w", errWatch, err)
	}
	return fmt.Errorf("%w: %w", errWatch, err)
}

func (w *localWatcher) events() <-chan dirty { return w.out }
func (w *localWatcher) err() error           { return w.failed }

func (w *localWatcher) close() {
	close(w.stop)
	_ = w.w.Close() // it only gives up its watches
	w.done.Wait()
}

// add watches a directory and all below it. First it is watched, then read, so
// that what comes to be in it meanwhile is seen one way or the other.
func (w *localWatcher) add(dir string) error {
	name := w.l.name(dir)
	err := w.w.Add(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil // gone again
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil // listing it will say so
	}
	if err != nil {
		return unwatchable(err)
	}
	w.watched[dir] = true
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil // listing it will say so
	}
	for _, e := range entries {
		path := joined(dir, e.Name())
		if !e.IsDir() || stage.IsTemporary(e.Name()) || w.filter.Excludes(path, true) {
			continue
		}
		if err := w.add(path); err != nil {
			return err
		}
	}
	return nil
}

func joined(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// drop ends the watching of a directory that is no longer there, and of all
// below it: it may have been moved, and its watches with it.
func (w *localWatcher) drop(dir string) {
	for d := range w.watched {
		if d == dir || strings.HasPrefix(d, dir+"/") {
			_ = w.w.Remove(w.l.name(d)) // it may be gone by itself
			delete(w.watched, d)
		}
	}
}

func (w *localWatcher) loop() {
	defer close(w.out)
	for {
		select {
		case ev, ok := <-w.w.Events:
			if !ok || !w.take(ev) {
				return
			}
		case err, ok := <-w.w.Errors:
			if !ok {
				return
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				w.failed = unwatchable(err)
				return
			}
			// Directories that were made and not told of are to be watched too.
			if err := w.add(""); err != nil {
				w.failed = err
				return
			}
			if !w.tell(dirty{all: true}) {
				return
			}
		case <-w.stop:
			return
		}
	}
}

// take turns an event into a directory to be looked at.
func (w *localWatcher) take(ev fsnotify.Event) bool {
	rel, err := filepath.Rel(w.l.dir, ev.Name)
	if err != nil || strings.HasPrefix(rel, "..") {
		return true
	}
	path := filepath.ToSlash(rel)
	if path == "." {
		if ev.Has(fsnotify.Remove) || ev.Has(fsnotify.Rename) {
			w.failed = errRootMoved
			return false
		}
		return true
	}
	if stage.IsTemporary(filepath.Base(ev.Name)) {
		return true
	}
	if (ev.Has(fsnotify.Remove) || ev.Has(fsnotify.Rename)) && w.watched[path] {
		w.drop(path)
	}
	if ev.Has(fsnotify.Create) {
		if fi, err := os.Lstat(ev.Name); err == nil && fi.IsDir() && !w.filter.ExcludesBelow(path, true) {
			w.drop(path) // of what had the name before
			if err := w.add(path); err != nil {
				w.failed = err
				return false
			}
			if !w.tell(dirty{dir: path, deep: true}) {
				return false
			}
		}
	}
	return w.tell(dirty{dir: parent(path)})
}

func (w *localWatcher) tell(d dirty) bool {
	select {
	case w.out <- d:
		return true
	case <-w.stop:
		return false
	}
}
