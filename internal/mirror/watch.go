package mirror

import (
	"context"
	"errors"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/treesync"
)

// watcher tells which directories of the source may have changed.
type watcher interface {
	// events yields directories until close; it is closed after an error that
	// err returns.
	events() <-chan dirty
	err() error
	close()
}

// dirty is a directory in which something may have changed: with deep in all
// below it. all is a watcher that has lost its thread: anything may have.
type dirty struct {
	dir       string
	deep, all bool
}

// Changes are waited for until it has been quiet for a while, but not for too
// long. What failed is tried again after a pause that grows.
const (
	quiet      = 200 * time.Millisecond
	longest    = 2 * time.Second
	firstRetry = 5 * time.Second
	lastRetry  = time.Minute
	retries    = 6
)

// Watch makes the destination follow and goes on doing so until ctx ends,
// which is no error of it beyond ctx's. It compares everything at the start,
// and whenever the watching may have missed something.
func (m *Mirror) Watch(ctx context.Context) error {
	for failures := 0; ; failures++ {
		began := time.Now()
		err := m.follow(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errRootMoved) {
			if err := sleep(ctx, quiet); err != nil { // until the other one is in its place
				return err
			}
			continue
		}
		if err != nil && final(err) {
			return err
		}
		if err != nil {
			m.trouble(err)
		}
		if time.Since(began) > 2*lastRetry {
			failures = 0
		}
		if err := sleep(ctx, min(firstRetry<<min(failures, 10), lastRetry)); err != nil {
			return err
		}
	}
}

// final reports an error that waiting does not mend.
func final(err error) bool {
	return errors.Is(err, treesync.ErrEmptySource) || errors.Is(err, errNotThere) || errors.Is(err, client.ErrDenied) || errors.Is(err, errWatch)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// follow watches from before the first comparison on, so that nothing is
// missed in between.
func (m *Mirror) follow(ctx context.Context) error {
	w, err := m.watch(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	moved := m.moved()
	todo, givenUp := scope{"": true}, false
	for tries := 0; ; {
		before := m.Result().Failed
		if todo[""] {
			err = m.Once(ctx)
		} else {
			err = m.some(ctx, todo)
		}
		if err == nil && m.moved() != moved {
			err = errRootMoved
		}
		if err != nil {
			return err
		}
		var again <-chan time.Time
		switch failed := m.Result().Failed > before; {
		case failed && tries < retries:
			again = time.After(min(firstRetry<<tries, lastRetry))
			tries++
		case failed:
			givenUp = true
			todo, tries = scope{}, 0
		default:
			givenUp = givenUp && !todo[""]
			if !givenUp {
				m.healed()
			}
			todo, tries = scope{}, 0
		}
		if err := m.await(ctx, w, todo, again); err != nil {
			return err
		}
	}
}

// errRootMoved: another directory has the source's name than the one that is
// watched, or none has.
var errRootMoved = errors.New("the directory was moved or removed")

// moved tells how often another directory was found under the source's name.
func (m *Mirror) moved() int {
	if l, ok := m.src.(*local); ok {
		return l.moved
	}
	return 0
}

// healed forgets failures: what failed was tried again, and done.
func (m *Mirror) healed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.result.Failed = 0
}

// await adds what changes to todo, until it is quiet; or returns when it is
// time to try todo again.
func (m *Mirror) await(ctx context.Context, w watcher, todo scope, again <-chan time.Time) error {
	var silence, enough <-chan time.Time
	for {
		select {
		case d, ok := <-w.events():
			if !ok {
				return w.err()
			}
			todo.add(d)
			silence = time.After(quiet)
			if enough == nil {
				enough = time.After(longest)
			}
		case <-silence:
			return nil
		case <-enough:
			return nil
		case <-again:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch watches the source.
func (m *Mirror) watch(ctx context.Context) (watcher, error) {
	if l, ok := m.src.(*local); ok {
		return watchLocal(l, m.o.Filter)
	}
	return watchRemote(ctx, m.src.(*remote))
}

// errWatch: watching is not possible.
var errWatch = errors.New("the directory cannot be watched")
