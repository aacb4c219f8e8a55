package mirror

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/efs-project/efs/client"
)

// remoteWatcher follows the change log of a file system.
type remoteWatcher struct {
	out    chan dirty
	cancel context.CancelFunc
	done   sync.WaitGroup
	failed error
}

func watchRemote(ctx context.Context, r *remote) (watcher, error) {
	since, err := r.c.Sequence(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &remoteWatcher{out: make(chan dirty), cancel: cancel}
	w.done.Go(func() {
		defer close(w.out)
		w.failed = w.follow(ctx, r, since)
	})
	return w, nil
}

func (w *remoteWatcher) events() <-chan dirty { return w.out }
func (w *remoteWatcher) err() error           { return w.failed }

func (w *remoteWatcher) close() {
	w.cancel()
	w.done.Wait()
}

var errLost = errors.New("the change log was cut before it could be read: everything is compared again")

func (w *remoteWatcher) follow(ctx context.Context, r *remote, since uint64) error {
	for c, err := range r.c.Changes(ctx, client.ChangesOptions{Since: since, Follow: true}) {
		if errors.Is(err, client.ErrLogTruncated) {
			return errLost
		}
		if err != nil {
			return err
		}
		for _, path := range []string{c.Path, c.From} {
			for _, d := range r.dirtied(path, c.Kind == "directory") {
				select {
				case w.out <- d:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
	}
	return ctx.Err()
}

// dirtied tells where to look after a change at path, which is the file
// system's.
func (r *remote) dirtied(path string, dir bool) []dirty {
	if path == "" {
		return nil
	}
	rel, below := strings.CutPrefix(path, r.base+"/")
	if !below || rel == "" {
		if path == r.base || strings.HasPrefix(r.base, path+"/") {
			return []dirty{{all: true}}
		}
		return nil
	}
	out := []dirty{{dir: parent(rel)}}
	if dir {
		out = append(out, dirty{dir: rel, deep: true})
	}
	return out
}
