package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/archive"
	"github.com/efs-project/efs/internal/unarchive"
)

// inMemory is up to which size members travel side by side, in bytes.
const inMemory = 1 << 20

// remoteTarget is a directory of a file system. Small files are stored side by
// side, larger ones from the archive as it is read.
type remoteTarget struct {
	ctx       context.Context
	c         *client.Client
	base      string // without a slash at the end
	noClobber bool
	free      chan struct{} // holds one for each file on its way
	tasks     sync.WaitGroup
}

func newRemoteTarget(ctx context.Context, c *client.Client, f *tarFlags) (*remoteTarget, error) {
	t := &remoteTarget{ctx: ctx, c: c, base: strings.TrimRight("/"+strings.Trim(f.to, "/"), "/"), noClobber: f.noClobber, free: make(chan struct{}, max(1, f.workers))}
	if t.base == "" {
		return t, nil
	}
	err := c.Mkdir(ctx, t.base, client.MkdirOptions{})
	if errors.Is(err, client.ErrExists) {
		e, statErr := c.Stat(ctx, t.base)
		if statErr == nil && !e.IsDir() {
			return nil, fmt.Errorf("%s is no directory", t.base)
		}
		err = statErr
	}
	return t, err
}

// Close waits for what is on its way. What the server has confirmed is durable.
func (t *remoteTarget) Close() error {
	t.tasks.Wait()
	return t.ctx.Err()
}

// Remove removes a path with all below it.
func (t *remoteTarget) Remove(p string) error {
	if p != "." {
		return gone(t.c.RemoveAll(t.ctx, t.base+"/"+p))
	}
	var all []string
	for e, err := range t.c.List(t.ctx, t.base+"/", client.ListOptions{}) {
		if err != nil {
			return err
		}
		all = append(all, e.Path)
	}
	for _, p := range all {
		if err := gone(t.c.RemoveAll(t.ctx, p)); err != nil {
			return err
		}
	}
	return nil
}

func gone(err error) error {
	if errors.Is(err, client.ErrNotFound) {
		return nil
	}
	return err
}

// Put stores a member.
func (t *remoteTarget) Put(m *archive.Member, r io.Reader, done func(error)) {
	if err := t.ctx.Err(); err != nil {
		done(err)
		return
	}
	if m.Kind == efs.KindDir { // before what is in it
		done(t.mkdir(m))
		return
	}
	if m.Kind == efs.KindFile && m.Size > inMemory {
		done(t.store(m, r))
		return
	}
	data, err := io.ReadAll(r)
	if err != nil {
		done(err)
		return
	}
	t.free <- struct{}{}
	t.tasks.Go(func() {
		defer func() { <-t.free }()
		done(t.store(m, bytes.NewReader(data)))
	})
}

// store stores a file or a symbolic link.
func (t *remoteTarget) store(m *archive.Member, r io.Reader) error {
	o := client.PutOptions{
		Type: m.Type, Meta: m.Meta, Mode: m.Mode, Modified: m.Modified, Size: m.Size, IfNoneMatch: t.noClobber,
	}
	if len(m.Lost) == 0 {
		o.SHA256 = m.SHA256 // the server compares it before it confirms
	}
	var err error
	if m.Kind == efs.KindSymlink {
		o.Type, o.Size, o.SHA256 = "", 0, ""
		_, err = t.c.Symlink(t.ctx, t.base+"/"+m.OutName(), m.Target, o)
	} else {
		_, err = t.c.Put(t.ctx, t.base+"/"+m.OutName(), r, o)
	}
	if t.noClobber && (errors.Is(err, client.ErrPrecondition) || errors.Is(err, client.ErrExists)) {
		return unarchive.ErrKept
	}
	return err
}

// mkdir makes a directory; one that is there gets what the member tells.
func (t *remoteTarget) mkdir(m *archive.Member) error {
	p := t.base + "/" + m.Name
	err := t.c.Mkdir(t.ctx, p, client.MkdirOptions{Mode: m.Mode, Modified: m.Modified, Meta: m.Meta})
	if !errors.Is(err, client.ErrExists) {
		return err
	}
	e, err := t.c.Stat(t.ctx, p)
	switch {
	case err != nil:
		return err
	case !e.IsDir():
		return fmt.Errorf("%s is no directory: remove it first", p)
	case t.noClobber:
		return unarchive.ErrKept
	}
	patch := client.PatchOptions{Modified: &m.Modified, Mode: &m.Mode, Meta: map[string]*string{}}
	for k, v := range m.Meta {
		patch.Meta[k] = &v
	}
	return t.c.Patch(t.ctx, p, patch)
}
