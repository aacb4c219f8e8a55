package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/stage"
	"github.com/efs-project/efs/internal/transfer"
	"github.com/efs-project/efs/internal/treesync"
)

// remote is a tree in a file system.
type remote struct {
	c    *client.Client
	at   transfer.Place
	base string // of the root's path, without a slash at the end; "" is all

	mu    sync.Mutex
	parts int              // files under way that the last listing passed by
	part  bool             // only what was granted of it is shown
	extra map[string]extra // what a new content must not take away
}

// extra is what a file has beyond what files on this machine have.
type extra struct {
	typ  string
	meta map[string]string
}

func openRemote(p transfer.Place) *remote {
	return &remote{c: p.Client, at: p, base: strings.TrimRight(p.Path, "/"), extra: map[string]extra{}}
}

func (r *remote) path(rel string) string {
	if rel == "" {
		return r.base + "/"
	}
	return r.base + "/" + rel
}

func (r *remote) name(path string) string { return r.at.Remote + ":" + r.path(path) }

func (r *remote) close() error { return nil }

func (r *remote) temporary() int { return r.parts }

func (r *remote) prepare(ctx context.Context) error {
	if r.base == "" {
		return nil
	}
	e, err := r.c.Stat(ctx, r.base)
	if errors.Is(err, client.ErrNotFound) {
		return r.made(r.c.Mkdir(ctx, r.base, client.MkdirOptions{}))
	}
	if err == nil && !e.IsDir() {
		return client.ErrNotDir
	}
	return err
}

// made takes a directory that somebody else made meanwhile for one's own.
func (r *remote) made(err error) error {
	if errors.Is(err, client.ErrExists) {
		return nil
	}
	return err
}

func (r *remote) list(ctx context.Context, dir string, deep bool, f *treesync.Filter, trouble func(error)) ([]treesync.Node, error) {
	var out []treesync.Node
	prefix := ""
	if dir != "" {
		prefix = dir + "/"
	}
	root := len(r.path(dir))
	if dir != "" {
		root++
	}
	if dir == "" {
		r.parts = 0
	}
	out0 := "" // the directory that is left out at present
	for e, err := range r.c.List(ctx, r.path(dir), client.ListOptions{Recursive: deep, Narrowed: r.narrowed}) {
		if errors.Is(err, client.ErrNotFound) && len(out) == 0 {
			return nil, errNotThere
		}
		if errors.Is(err, client.ErrNotDir) && dir == "" {
			return nil, fmt.Errorf("%s: %w", strings.TrimSuffix(r.name(""), "/"), errNotDir)
		}
		if err != nil {
			return out, err
		}
		path := prefix + e.Path[root:]
		if out0 != "" && strings.HasPrefix(path, out0) {
			continue
		}
		if f.Excludes(path, e.IsDir()) {
			if e.IsDir() {
				out0 = path + "/"
			}
			continue
		}
		if stage.IsTemporary(e.Name) {
			if r.parts++; e.IsDir() {
				out0 = path + "/"
			}
			continue
		}
		out = append(out, r.node(path, &e))
	}
	return out, nil
}

func (r *remote) narrowed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.part = true
}

// isPart reports whether a listing was not of all there is.
func (r *remote) isPart() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.part
}

func (r *remote) node(path string, e *client.Entry) treesync.Node {
	n := treesync.Node{Path: path, Size: e.Size, Version: e.ETag, Target: e.Target}
	if !e.Modified.IsZero() {
		n.Modified = known(e.Modified)
	}
	switch e.Kind {
	case "file":
		n.Kind = treesync.File
		_, _ = hex.Decode(n.Digest[:], []byte(e.SHA256)) // one that is no digest is not known
		if len(e.SHA256) != 2*sha256.Size {
			n.Digest = treesync.Digest{}
		}
	case "directory":
		n.Kind, n.Size, n.Version = treesync.Dir, 0, ""
	case "symlink":
		n.Kind, n.Size = treesync.Symlink, 0
	default:
		n.Kind = treesync.Other
	}
	if m := e.Mode & permissions; m != 0 && n.Kind != treesync.Symlink {
		n.Mode, n.HasMode = m, true
	}
	if n.Kind != treesync.Dir && (len(e.Meta) > 0 || e.Type != client.TypeByName(e.Name)) {
		r.mu.Lock()
		r.extra[path] = extra{e.Type, e.Meta}
		r.mu.Unlock()
	}
	return n
}

func (r *remote) stat(ctx context.Context, path string) (*treesync.Node, error) {
	e, err := r.c.Stat(ctx, r.path(path))
	if errors.Is(err, client.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n := r.node(path, e)
	return &n, nil
}

func (r *remote) digest(ctx context.Context, n *treesync.Node) (treesync.Digest, error) {
	body, err := r.c.Get(ctx, r.path(n.Path))
	if err != nil {
		return treesync.Digest{}, err
	}
	defer body.Close()
	h := sha256.New()
	if _, err := io.Copy(h, body); err != nil {
		return treesync.Digest{}, err
	}
	if body.Entry.ETag != n.Version {
		return treesync.Digest{}, errMoved
	}
	return treesync.Digest(h.Sum(nil)), nil
}

func (r *remote) mkdir(ctx context.Context, n *treesync.Node) error {
	return r.made(r.c.Mkdir(ctx, r.path(n.Path), client.MkdirOptions{Mode: n.Mode, Modified: timeOf(n)}))
}

func timeOf(n *treesync.Node) time.Time {
	if n.Modified == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n.Modified)
}

func (r *remote) attributes(ctx context.Context, n *treesync.Node) error {
	var o client.PatchOptions
	if n.HasMode {
		o.Mode = &n.Mode
	}
	if t := timeOf(n); !t.IsZero() {
		o.Modified = &t
	}
	return r.c.Patch(ctx, r.path(n.Path), o)
}

// putOptions says how an action's source is to be stored: under the condition
// that the destination is still what was listed.
func (r *remote) putOptions(a *treesync.Action, force bool) client.PutOptions {
	o := client.PutOptions{Mode: a.Source.Mode, Modified: timeOf(a.Source)}
	if a.Op == treesync.Replace {
		r.mu.Lock()
		o.Type, o.Meta = r.extra[a.Path].typ, r.extra[a.Path].meta
		r.mu.Unlock()
	}
	switch {
	case force:
	case a.Dest == nil || a.Clear:
		o.IfNoneMatch = true
	default:
		o.IfMatch = a.Dest.Version
	}
	return o
}

// conditioned reads a condition that did not hold as what it means here.
func conditioned(err error) error {
	if errors.Is(err, client.ErrPrecondition) || errors.Is(err, client.ErrExists) {
		return errMoved
	}
	return err
}

func (r *remote) symlink(ctx context.Context, a *treesync.Action, force bool) (string, error) {
	stored, err := r.c.Symlink(ctx, r.path(a.Path), a.Source.Target, r.putOptions(a, force))
	if err != nil {
		return "", conditioned(err)
	}
	return stored.ETag, nil
}

func (r *remote) remove(ctx context.Context, n *treesync.Node, force bool) error {
	o := client.RemoveOptions{IfMatch: n.Version}
	if force {
		o.IfMatch = ""
	}
	err := r.c.Remove(ctx, r.path(n.Path), o)
	switch {
	case errors.Is(err, client.ErrNotFound):
		return nil
	case errors.Is(err, client.ErrNotEmpty):
		return errNotEmpty
	}
	return conditioned(err)
}

func (r *remote) clear(ctx context.Context, n *treesync.Node) error {
	return r.c.RemoveAll(ctx, r.path(n.Path))
}
