package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/internal/plain"
	"github.com/efs-project/efs/internal/progress"
	"github.com/efs-project/efs/internal/unarchive"
)

// target is where an archive is restored to.
type target interface {
	// Put receives a member, whose contents r delivers until it returns. done is
	// called once with what became of it, perhaps later and by another goroutine.
	Put(m *archive.Member, r io.Reader, done func(error))
	Remove(path string) error
	// Close waits for all, and makes it durable.
	Close() error
}

// restored tells what became of an archive.
type restored struct {
	Members int64          `json:"members"`
	Bytes   int64          `json:"bytes"`
	Kept    int64          `json:"kept"`
	Failed  int64          `json:"failed"`
	Removed int64          `json:"removed"`
	Losses  []archive.Loss `json:"losses"`
}

// restore is a restoring under way.
type restore struct {
	ctx context.Context
	f   *tarFlags
	to  target
	bar *progress.Bar

	mu  sync.Mutex
	sum restored
}

// extractArchive restores an archive.
func (a *app) extractArchive(cmd *cobra.Command, name string, f *tarFlags) error {
	var shown atomic.Pointer[progress.Bar]
	r, err := f.open(cmd, name, func(n int64) {
		if bar := shown.Load(); bar != nil {
			bar.Add(n)
		}
	})
	if err != nil {
		return err
	}
	defer r.Close()
	on, err := a.basis(cmd.Context(), f)
	if err != nil {
		return err
	}
	if !f.force && !f.noClobber { // which removes nothing
		if err := on.fits(r.Info()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	to, err := a.target(cmd, f)
	if err != nil {
		return err
	}
	if err := on.begin(r.Info()); err != nil {
		return errors.Join(err, to.Close())
	}
	total := int64(-1)
	if r.file != nil {
		if fi, err := r.file.Stat(); err == nil {
			total = fi.Size()
		}
	}
	bar := progress.New(cmd.ErrOrStderr(), total, name, f.quiet)
	shown.Store(bar)
	x := &restore{ctx: cmd.Context(), f: f, to: to, bar: bar, sum: restored{Losses: []archive.Loss{}}}
	err = x.all(r.Reader)
	err = errors.Join(err, to.Close())
	bar.Finish()
	if err != nil {
		return f.explain(name, err)
	}
	if err := x.tell(cmd, r.Reader); err != nil {
		return err
	}
	if x.sum.Kept > 0 || f.noClobber {
		return nil
	}
	return on.done(r.Info())
}

// target opens where the members go.
func (a *app) target(cmd *cobra.Command, f *tarFlags) (target, error) {
	if f.fs != "" {
		c, err := a.session(cmd.Context(), f.fs)
		if err != nil {
			return nil, err
		}
		return newRemoteTarget(cmd.Context(), c, f)
	}
	if err := os.MkdirAll(f.dir, 0o777); err != nil {
		return nil, err
	}
	d, err := unarchive.New(f.dir, f.noClobber)
	if err != nil {
		return nil, err
	}
	return localTarget{d, cmd.ErrOrStderr()}, nil
}

// localTarget is a directory of this machine.
type localTarget struct {
	*unarchive.Dir
	notes io.Writer
}

func (l localTarget) Put(m *archive.Member, r io.Reader, done func(error)) { done(l.Dir.Put(m, r)) }

func (l localTarget) Close() error {
	if n := l.WithoutMetadata(); n > 0 {
		fmt.Fprintf(l.notes, "efs: content type and metadata of %d members were not kept: the file system takes no such extended attributes\n", n)
	}
	err := l.Dir.Close()
	if n, why := l.Unset(); n > 0 {
		err = errors.Join(err, fmt.Errorf("permissions or times of %d members, which are there, were not set: %w", n, why))
	}
	return err
}

// all restores every member. Those that fail are told of, and the others go on;
// an error is one of the archive, or of all.
func (x *restore) all(r *archive.Reader) error {
	for {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		m, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if m.Removed {
			if err := r.EachRemoved(x.remove); err != nil {
				return err
			}
			continue
		}
		src := &contents{ctx: x.ctx, r: r}
		x.to.Put(m, src, func(err error) { x.done(m, err) })
		if err := src.end(); err != nil { // the archive failed, not the member
			return err
		}
	}
}

// contents are a member's until the next one comes, whoever still reads them. It
// remembers an error of the archive.
type contents struct {
	ctx context.Context
	r   io.Reader

	mu    sync.Mutex
	err   error
	ended bool
}

var errEnded = errors.New("read too late")

func (c *contents) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return 0, errEnded
	}
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

func (c *contents) end() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	return c.err
}

func (x *restore) remove(p string) error {
	if x.f.noClobber {
		return nil
	}
	if err := x.to.Remove(p); err != nil {
		x.bar.Say("efs: removing %s: %v", p, err)
		x.sum.Failed++
		return nil
	}
	x.sum.Removed++
	return nil
}

func (x *restore) done(m *archive.Member, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case errors.Is(err, unarchive.ErrKept):
		x.sum.Kept++
		if x.f.verbose {
			x.bar.Say("%s is there already", m.Name)
		}
	case err != nil:
		x.sum.Failed++
		x.bar.Say("efs: restoring %s: %v", m.Name, err)
	default:
		x.sum.Members++
		x.sum.Bytes += m.Size
		if x.f.verbose {
			x.bar.Say("%s", m.OutName())
		}
	}
}

// tell sums up.
func (x *restore) tell(cmd *cobra.Command, r *archive.Reader) error {
	s := &x.sum
	if x.f.asJSON {
		s.Losses = append(s.Losses, r.Losses()...)
		if err := plain.JSON(cmd.OutOrStdout(), s, ""); err != nil {
			return err
		}
	} else if !x.f.quiet {
		more := ""
		for _, part := range []struct {
			n    int64
			what string
		}{{s.Removed, "removed"}, {s.Kept, "kept as they were"}, {s.Failed, "failed"}} {
			if part.n > 0 {
				more += fmt.Sprintf(", %d %s", part.n, part.what)
			}
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "efs: %d members restored, %d bytes%s\n", s.Members, s.Bytes, more)
	}
	err := x.f.tellLosses(cmd, r)
	if s.Failed > 0 {
		return errReported
	}
	return err
}
