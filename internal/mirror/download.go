package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/counted"
	"github.com/efs-project/efs/internal/ctxio"
	"github.com/efs-project/efs/internal/stage"
	"github.com/efs-project/efs/internal/treesync"
)

// inParts is from which size on, in bytes, a transfer that was cut off goes on
// where it ended.
const inParts = 64 << 20

// download receives a file beside its place, and gives it its name when all of
// it is there, right and durable.
func (m *Mirror) download(ctx context.Context, a *treesync.Action, from *remote, to *local) error {
	name, err := osPath(a.Path)
	if err != nil {
		return err
	}
	if a.Source.Size > inParts && a.Source.Digest.Known() && m.o.StateDir != "" {
		return m.downloadOn(ctx, a, from, to, name)
	}
	body, err := from.c.Get(ctx, from.path(a.Path))
	if err != nil {
		return err
	}
	defer body.Close()
	now := from.node(a.Path, &body.Entry)
	a.Source = &now
	f, err := stage.CreateIn(to.root, name, 0o666)
	if err != nil {
		return err
	}
	f.SetModified(timeOf(&now))
	if now.HasMode {
		f.SetMode(fs.FileMode(now.Mode & permissions))
	}
	h := sha256.New()
	var w io.Writer = f
	if !now.Digest.Known() { // else the client compares it
		w = io.MultiWriter(f, h)
	}
	if _, err = io.Copy(&counted.Writer{W: w, Told: m.o.Progress}, body); err == nil {
		err = m.stillThere(to, a)
	}
	if err != nil {
		f.Abort()
		return err
	}
	at := time.Now()
	if err := f.Commit(); err != nil {
		return err
	}
	proven := now.Digest.Known()
	if !proven {
		now.Digest = treesync.Digest(h.Sum(nil))
	}
	return m.received(a, to, at, proven)
}

// stillThere checks that nothing else has come to be at the target.
func (m *Mirror) stillThere(to *local, a *treesync.Action) error {
	switch {
	case m.o.Force:
		return nil
	case a.Clear:
		return to.still(a.Path, nil)
	}
	return to.still(a.Path, a.Dest)
}

// received remembers a file that has come. Its digest is that of the file on
// this machine only if nobody has written it since: its time was set.
func (m *Mirror) received(a *treesync.Action, to *local, at time.Time, proven bool) error {
	n := a.Source
	m.mem.inStep(n, n.Version, "")
	have, err := to.lstat(a.Path)
	if err == nil && have != nil && have.Size == n.Size && have.Modified == n.Modified {
		m.mem.read(a.Path, have.Stamp, n.Digest, at)
	}
	if m.o.RemoveSource && !proven {
		return errors.New("copied, but the source keeps no digest of the whole file to compare with: it was not removed")
	}
	return nil
}

// downloadOn receives a large file under a name that tells of which version it
// is, and goes on where an earlier run was cut off. What is there is read
// again, so that the digest is that of the whole file.
func (m *Mirror) downloadOn(ctx context.Context, a *treesync.Action, from *remote, to *local, name string) error {
	sum := sha256.Sum256([]byte(a.Path + "\x00" + a.Source.Version))
	part := path.Join(path.Dir(a.Path), stage.PartName(hex.EncodeToString(sum[:10])))
	if before := m.mem.part(a.Path, part); before != "" && before != part {
		m.dropPart(to, before)
	}
	temp, err := osPath(part)
	if err != nil {
		return err
	}
	f, err := to.openPart(temp)
	if err != nil {
		return err
	}
	defer f.Close() // closed before, where all went well
	h := sha256.New()
	if err := m.fill(ctx, a, from, f, h); err != nil {
		return err
	}
	if got := treesync.Digest(h.Sum(nil)); got != a.Source.Digest {
		m.dropPart(to, part)
		return fmt.Errorf("%w: received sha256 %x, the server keeps %x: run this again", client.ErrDigest, got, a.Source.Digest)
	}
	mode := fs.FileMode(0o666) &^ stage.Umask()
	if a.Source.HasMode {
		mode = fs.FileMode(a.Source.Mode & permissions)
	}
	if err := errors.Join(f.Chmod(mode), to.root.Chtimes(temp, timeOf(a.Source), timeOf(a.Source)), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := m.stillThere(to, a); err != nil {
		return err
	}
	at := time.Now()
	if err := to.root.Rename(temp, name); err != nil {
		return err
	}
	m.mem.part(a.Path, "")
	if err := stage.SyncDir(to.root, path.Dir(name)); err != nil {
		return err
	}
	return m.received(a, to, at, true)
}

// openPart opens what has arrived of a file, or begins it. Its name can be told
// beforehand: a link that stands there is removed, not followed.
func (l *local) openPart(temp string) (*os.File, error) {
	if fi, err := l.root.Lstat(temp); err == nil && !fi.Mode().IsRegular() {
		if err := l.root.Remove(temp); err != nil {
			return nil, err
		}
	}
	f, err := l.root.OpenFile(temp, os.O_RDWR|os.O_CREATE|openFlags, 0o600)
	if err != nil {
		return nil, err
	}
	opened, err := f.Stat()
	named, nerr := l.root.Lstat(temp)
	if err = errors.Join(err, nerr); err == nil && !os.SameFile(opened, named) {
		err = errMoved
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// fill hashes what f has, and receives what is missing.
func (m *Mirror) fill(ctx context.Context, a *treesync.Action, from *remote, f *os.File, h hash.Hash) error {
	have, err := io.Copy(h, ctxio.NewReader(ctx, io.LimitReader(f, a.Source.Size)))
	if err != nil {
		return err
	}
	if err := f.Truncate(have); err != nil {
		return err
	}
	m.o.Progress(have)
	if have == a.Source.Size {
		return nil
	}
	body, err := from.c.GetRange(ctx, from.path(a.Path), have, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	if body.Entry.ETag != a.Source.Version {
		return errSourceMoved
	}
	_, err = io.Copy(&counted.Writer{W: io.MultiWriter(f, h), Told: m.o.Progress}, body)
	return err
}

// dropPart removes what has arrived of a file that nobody waits for any more.
func (m *Mirror) dropPart(to *local, part string) {
	if name, err := osPath(part); err == nil && stage.IsTemporary(path.Base(part)) && to.root != nil {
		_ = to.root.Remove(name) // best effort: its name tells what it is
	}
}

// forgetAbsent drops what is remembered of paths that no side has any more.
func (m *Mirror) forgetAbsent(ctx context.Context, l *listings) {
	for _, r := range m.mem.absent(l.source, l.dest) {
		if to, ok := m.dst.(*remote); ok && r.Upload != nil {
			_ = to.c.AbortUpload(ctx, r.Upload.ID) // else it vanishes by itself
		}
		if to, ok := m.dst.(*local); ok && r.Part != "" {
			m.dropPart(to, r.Part)
		}
	}
}
