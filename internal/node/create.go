package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/internal/blob/dir"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/index/bolt"
)

// CreateFS makes a file system with the default policy and brings it into
// service, telling progress each thing it creates. It happens wholly or not at
// all: what a failure leaves is removed at once, what a crash leaves at the
// next start. progress may be nil. Errors: efs.ErrBadInput (name), efs.ErrExists, efs.ErrSealed,
// efs.ErrNoSpace.
func (n *Node) CreateFS(ctx context.Context, name string, progress func(line string)) error {
	return n.CreateFSWith(ctx, name, efs.DefaultPolicy(), progress)
}

// CreateFSWith is CreateFS with another policy than the default one.
// efs.ErrBadInput if that does not hold together, and what its KMSs answer.
func (n *Node) CreateFSWith(ctx context.Context, name string, policy efs.Policy, progress func(line string)) error {
	if !efs.ValidFSName(name) {
		return fmt.Errorf("file system name %q: 2 to 63 lower-case letters, digits and dashes, beginning with a letter or digit: %w", name, efs.ErrBadInput)
	}
	if err := fsys.CheckPolicy(policy); err != nil {
		return err
	}
	if progress == nil {
		progress = func(string) {}
	}
	n.admin.Lock()
	defer n.admin.Unlock()
	if err := n.Serving(); err != nil {
		return err
	}
	rec := fsRecord{ID: efs.NewID(), Name: name, Created: n.clock().UTC().Truncate(time.Second), Phase: phaseCreating}
	if err := n.free(rec); err != nil {
		return err
	}
	registry := n.secrets().registry
	if err := registry.put(rec); err != nil {
		return err
	}
	// Once begun it is finished or undone, whatever becomes of the caller.
	f, err := n.build(context.WithoutCancel(ctx), rec, policy, progress)
	if err == nil {
		rec.Phase = phaseReady
		if err = registry.put(rec); err != nil {
			err = errors.Join(err, f.close())
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("creating file system %s: %w", name, err), n.undo(rec))
	}
	n.publish(name, f)
	n.log.Info("file system created", "fs", name, "id", rec.ID)
	return nil
}

// Serving is nil while the node is ready. efs.ErrSealed with what to do, or
// efs.ErrUnavailable when it is stopping.
func (n *Node) Serving() error {
	switch n.State() {
	case StateReady:
		return nil
	case StateWaiting:
		return fmt.Errorf("the server has no starter key yet: `efsctl init` makes one: %w", efs.ErrSealed)
	case StateSealed:
		return fmt.Errorf("the server is sealed: `efsctl unseal` opens it with its starter key: %w", efs.ErrSealed)
	}
	return fmt.Errorf("the server is stopping: %w", efs.ErrUnavailable)
}

// free reports whether a name is in use, by a file system or by anything that
// lies where its directories would be.
func (n *Node) free(rec fsRecord) error {
	if have, ok := n.secrets().registry.get(rec.Name); ok {
		if have.Phase == phaseDeleting {
			return fmt.Errorf("file system %s is still being deleted: try again later: %w", rec.Name, efs.ErrExists)
		}
		return fmt.Errorf("file system %s: %w", rec.Name, efs.ErrExists)
	}
	for _, top := range n.cfg.places(rec.Name).tops() {
		if _, err := os.Lstat(top); err == nil {
			return fmt.Errorf("'%s' is there already and is not a file system of this server: move it away first: %w", top, efs.ErrExists)
		} else if !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("looking for '%s': %w", top, err)
		}
	}
	return nil
}

// build makes everything that belongs to a file system and opens it.
func (n *Node) build(ctx context.Context, rec fsRecord, policy efs.Policy, progress func(string)) (f *FileSystem, err error) {
	p := &parts{places: n.cfg.places(rec.Name)}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if err := n.buildDirectories(p.places, progress); err != nil {
		return nil, err
	}
	progress(fmt.Sprintf("Creating AES key '%s'", filepath.Join(p.places.system, "aes.key")))
	progress(fmt.Sprintf("Creating filename salt '%s'", filepath.Join(p.places.system, "filename-salt")))
	if p.keys, err = n.secrets().ring.Create(ctx, rec.ID, rec.Name, policy.Stages); err != nil {
		return nil, err
	}
	sealer, err := fsys.HeadSealer(rec.ID, p.keys)
	if err != nil {
		return nil, err
	}
	if p.index, err = bolt.Create(p.places.index, rec.ID, sealer, bolt.Options{}); err != nil {
		return nil, err
	}
	if p.blobs, err = dir.Create(p.places.files, dir.Options{FanOut: policy.FanOut}); err != nil {
		return nil, err
	}
	if err := p.keepJournal(n, rec.Name); err != nil {
		return nil, err
	}
	options := p.options(n, rec)
	options.Policy = policy
	if p.fs, err = fsys.Create(ctx, options); err != nil {
		return nil, err
	}
	users, err := access.Create(ctx, rec.Name, p.fs)
	if err != nil {
		return nil, err
	}
	p.runJournal()
	f = n.serve(rec, p, users)
	if err := f.writeExports(); err != nil {
		return nil, err
	}
	users.ExportTo(p.places.system, n.log)
	layout := p.blobs.Layout()
	progress(fmt.Sprintf("Placing contents on %s in %d levels of directories, none above %d entries up to %d contents",
		layout.Volume, layout.FanOut, layout.MaxDir, layout.Reached))
	return f, nil
}

// buildDirectories makes the directories of a file system, durably.
func (n *Node) buildDirectories(p places, progress func(string)) error {
	progress(fmt.Sprintf("Creating '%s'", p.home))
	for _, top := range p.tops() {
		if err := os.Mkdir(top, 0o700); err != nil {
			return fmt.Errorf("creating '%s': %w", top, err)
		}
	}
	for _, d := range []struct{ what, path string }{{"files", p.files}, {"system config", p.system}} {
		progress(fmt.Sprintf("Creating %s directory '%s'", d.what, d.path))
		if err := os.Mkdir(d.path, 0o700); err != nil {
			return fmt.Errorf("creating '%s': %w", d.path, err)
		}
	}
	for _, top := range p.tops() {
		if err := errors.Join(atomicfile.SyncDir(top), atomicfile.SyncDir(filepath.Dir(top))); err != nil {
			return err
		}
	}
	return nil
}

// undo removes what a failed creation left.
func (n *Node) undo(rec fsRecord) error {
	if err := n.erase(n.ctx, rec); err != nil {
		return fmt.Errorf("removing what was begun of %s, to be tried again at the next start: %w", rec.Name, err)
	}
	return nil
}
