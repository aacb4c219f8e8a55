package mirror

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/treesync"
)

// inMemory is up to which size a file is read before it is sent, bytes.
const inMemory = 256 << 10

// content copies a file's contents in the direction of this run.
func (m *Mirror) content(ctx context.Context, a *treesync.Action) error {
	if a.Source.Size > inParts {
		select {
		case m.large <- struct{}{}:
			defer func() { <-m.large }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	from, isLocal := m.src.(*local)
	if isLocal {
		return m.upload(ctx, a, from, m.dst.(*remote))
	}
	if to, ok := m.dst.(*local); ok {
		return m.download(ctx, a, m.src.(*remote), to)
	}
	return m.relay(ctx, a, m.src.(*remote), m.dst.(*remote))
}

// upload stores a local file. What was stored is remembered also where the
// file changed meanwhile, so that it is known whose change the next run sees.
func (m *Mirror) upload(ctx context.Context, a *treesync.Action, from *local, to *remote) error {
	at := time.Now()
	f, now, err := from.open(a.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	a.Source = &now
	stored, err := m.send(ctx, a, f, to)
	if err != nil {
		return conditioned(err)
	}
	now.Digest = digestOf(stored.SHA256)
	now.Size = stored.Size
	m.mem.inStep(&now, "", stored.ETag)
	after, err := f.Stat()
	if err != nil {
		return err
	}
	if stampOf(after) != now.Stamp || stored.Size != now.Stamp.Size {
		return fmt.Errorf("%s changed while it was read, and what is stored may be a mixture: run this again", from.name(a.Path))
	}
	if now.Digest.Known() {
		m.mem.read(a.Path, now.Stamp, now.Digest, at)
	}
	return nil
}

// send stores what f has. The client has compared the digest that the server
// confirms with what it read.
func (m *Mirror) send(ctx context.Context, a *treesync.Action, f *os.File, to *remote) (*client.Stored, error) {
	o := to.putOptions(a, m.o.Force)
	o.Progress = m.o.Progress
	m.dropOutdated(ctx, a, to)
	size := a.Source.Size
	if size > inParts {
		return m.sendParts(ctx, a, f, to, o)
	}
	if size > inMemory {
		return to.c.Put(ctx, to.path(a.Path), f, o)
	}
	b := make([]byte, size)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return nil, err
	}
	return to.c.Put(ctx, to.path(a.Path), bytes.NewReader(b[:n]), o)
}

func digestOf(s string) (d treesync.Digest) {
	if len(s) == hex.EncodedLen(len(d)) {
		if _, err := hex.Decode(d[:], []byte(s)); err != nil {
			return treesync.Digest{}
		}
	}
	return d
}

// relay copies from one file system to another, on the server where both are
// one, else through this machine's memory.
func (m *Mirror) relay(ctx context.Context, a *treesync.Action, from, to *remote) error {
	if from.at.Remote == to.at.Remote {
		return m.copyThere(ctx, a, from, to)
	}
	body, err := from.c.Get(ctx, from.path(a.Path))
	if err != nil {
		return err
	}
	defer body.Close()
	if body.Entry.ETag != a.Source.Version {
		return errSourceMoved
	}
	o := to.putOptions(a, m.o.Force)
	o.Type, o.Meta, o.Progress = body.Entry.Type, body.Entry.Meta, m.o.Progress
	o.Size, o.SHA256 = body.Entry.Size, body.Entry.SHA256
	stored, err := to.c.Put(ctx, to.path(a.Path), body, o)
	if err != nil {
		return conditioned(err)
	}
	return m.confirmed(a, stored.SHA256, stored.ETag)
}

var errSourceMoved = errors.New("it changed at the source since it was listed: run this again")

// confirmed compares the digest that the destination confirms with the
// source's, and remembers that they are in step.
func (m *Mirror) confirmed(a *treesync.Action, sha256, etag string) error {
	n, d := *a.Source, digestOf(sha256)
	proven := n.Digest.Known() && d.Known()
	if !n.Digest.Known() {
		n.Digest = d
	} else if d.Known() && d != n.Digest {
		return fmt.Errorf("%w: the source has sha256 %x, the destination %s: run this again", client.ErrDigest, n.Digest, sha256)
	}
	m.mem.inStep(&n, a.Source.Version, etag)
	if m.o.RemoveSource && !proven {
		return errors.New("copied, but not both sides keep a digest of the whole file to compare: the source was not removed")
	}
	return nil
}

// copyThere lets the server copy, under the condition that both sides are
// still what was listed.
func (m *Mirror) copyThere(ctx context.Context, a *treesync.Action, from, to *remote) error {
	o := client.MoveOptions{IfMatch: a.Source.Version}
	switch {
	case m.o.Force:
	case a.Dest == nil || a.Clear:
		o.NoOverwrite = true
	default:
		o.DestIfMatch = a.Dest.Version
	}
	if err := from.c.Copy(ctx, from.path(a.Path), to.path(a.Path), o); err != nil {
		if now, serr := from.stat(ctx, a.Path); serr == nil && (now == nil || now.Version != a.Source.Version) {
			return errSourceMoved
		}
		return conditioned(err)
	}
	m.o.Progress(a.Source.Size)
	e, err := to.c.Stat(ctx, to.path(a.Path))
	if err != nil {
		return err
	}
	if have := to.node(a.Path, e); have.Mode != a.Source.Mode || have.Modified != a.Source.Modified {
		if err := to.attributes(ctx, a.Source); err != nil {
			return err
		}
		if e, err = to.c.Stat(ctx, to.path(a.Path)); err != nil {
			return err
		}
	}
	return m.confirmed(a, e.SHA256, e.ETag)
}
