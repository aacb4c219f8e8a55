package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/access"
	"github.com/efs-project/efs/internal/blob/dir"
	"github.com/efs-project/efs/internal/contentcache"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/index/bolt"
	"github.com/efs-project/efs/internal/journal"
	"github.com/efs-project/efs/internal/keyring"
)

// FileSystem is an open file system with its users. Its name and id are
// Name() and ID().
type FileSystem struct {
	*fsys.FS
	Users   *access.Directory
	Created time.Time

	parts    parts
	problems []string // what did not fit at start
}

// parts are what a file system is put together from. close releases those
// that were opened.
type parts struct {
	keys  *keyring.Keys
	index *bolt.Index
	blobs *dir.Store
	fs    *fsys.FS
	cache *contentcache.View // nil: none

	journal *journal.Keeper // nil: none
	places  places
}

func (p *parts) close() error {
	var errs []error
	if p.cache != nil {
		p.cache.Close()
	}
	if p.fs != nil {
		errs = append(errs, p.fs.Close())
	}
	if p.blobs != nil {
		errs = append(errs, p.blobs.Close())
	}
	if p.journal != nil {
		errs = append(errs, p.journal.Close())
	}
	if p.index != nil {
		errs = append(errs, p.index.Close())
	}
	return errors.Join(errs...)
}

func (p *parts) options(n *Node, rec fsRecord) fsys.Options {
	o := fsys.Options{
		ID: rec.ID, Name: rec.Name, Index: p.index, Blobs: p.blobs, Keys: p.keys,
		Anchor:         n.anchor(rec.Name),
		AcceptRollback: slices.Contains(n.cfg.AcceptRollback, rec.Name),
		Logger:         n.log, Clock: n.clock, Tracer: n.cfg.Tracer,
		Audit:       n.auditor(),
		SignReceipt: n.signReceipts, KeyCopies: n.keyCopies,
	}
	if n.cfg.Cache != nil {
		p.cache = n.cfg.Cache.For(rec.ID, p.keys.Live)
		o.Cache = p.cache
		o.OnForget = func([]efs.ID) { p.cache.Clear() }
	}
	return o
}

// openFS opens a registered file system from what lies on its volumes.
func (n *Node) openFS(ctx context.Context, rec fsRecord) (*FileSystem, error) {
	return n.openFSWith(ctx, rec, func(*fsys.Options) {})
}

// openFSWith is openFS with options adjusted.
func (n *Node) openFSWith(ctx context.Context, rec fsRecord, adjust func(*fsys.Options)) (f *FileSystem, err error) {
	p := &parts{places: n.cfg.places(rec.Name)}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	for _, dir := range []string{p.places.system, p.places.files} {
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("directory '%s' is missing: is its volume mounted? If it is lost, `efsctl restore` brings it back from a backup: %w", dir, efs.ErrDamaged)
		}
	}
	if p.keys, err = n.secrets().ring.Keys(ctx, rec.ID); err != nil {
		return nil, fmt.Errorf("its keys: %w", err)
	}
	sealer, err := fsys.HeadSealer(rec.ID, p.keys)
	if err != nil {
		return nil, fmt.Errorf("its keys: %w", err)
	}
	if p.index, err = bolt.Open(p.places.index, rec.ID, sealer, bolt.Options{}); err != nil {
		return nil, explainIndex(rec.Name, err)
	}
	if p.blobs, err = dir.Open(p.places.files, dir.Options{}); err != nil {
		return nil, err
	}
	if err := p.keepJournal(n, rec.Name); err != nil {
		return nil, err
	}
	if err := removeDrills(ctx, filepath.Dir(p.places.files)); err != nil {
		n.log.Warn("what a drill left could not be removed", "fs", rec.Name, "err", err)
	}
	o := p.options(n, rec)
	adjust(&o)
	if p.fs, err = fsys.Open(ctx, o); err != nil {
		return nil, n.explainRollback(rec.Name, err)
	}
	users, err := access.Open(ctx, rec.Name, p.fs)
	if err != nil {
		return nil, err
	}
	if rec.Phase == phaseReady {
		// A mark that a crash has left would have a later restore, which is cut off
		// while this volume is away, remove what is on it when it is back.
		if err := unmarkRestoring(p.places); err != nil {
			n.log.Warn("removing the marks of a restore that is done", "fs", rec.Name, "err", err)
		}
	}
	p.runJournal()
	return n.serve(rec, p, users), nil
}

// explainIndex adds what an operator can do about an index that is missing or
// damaged.
func explainIndex(name string, err error) error {
	if errors.Is(err, efs.ErrNotFound) || errors.Is(err, efs.ErrDamaged) {
		return fmt.Errorf("%w; or make it anew from the journal: `efsctl rebuild-index %s`", err, name)
	}
	return err
}

// explainRollback adds what an operator can do about an index from the past.
func (n *Node) explainRollback(name string, err error) error {
	if errors.Is(err, efs.ErrRolledBack) {
		return fmt.Errorf("%w: put the newest index back, or start the server with --accept-rollback %s to go on with this one, without what was stored after it", err, name)
	}
	return err
}

// serve puts the users beside an open file system and keeps their exports up
// to date from now on.
func (n *Node) serve(rec fsRecord, p *parts, users *access.Directory) *FileSystem {
	f := &FileSystem{FS: p.fs, Users: users, Created: rec.Created, parts: *p}
	n.watchUsers(n.secrets(), users)
	p.keys.OnChange(func() { n.exportKeys(p.keys, p.places.system) })
	f.watchPolicy(n.log)
	return f
}

// SystemDir is where the exports of the file system lie.
func (f *FileSystem) SystemDir() string { return f.parts.places.system }

func (f *FileSystem) close() error {
	if err := f.parts.close(); err != nil {
		return fmt.Errorf("closing file system %s: %w", f.Name(), err)
	}
	return nil
}

// openAll opens every registered file system. One that fails is kept with its
// reason.
func (n *Node) openAll(ctx context.Context) {
	open := map[string]*FileSystem{}
	failed := map[string]error{}
	for _, rec := range n.secrets().registry.all() {
		if rec.Phase != phaseReady {
			continue
		}
		f, err := n.openFS(ctx, rec)
		if err != nil {
			failed[rec.Name] = err
			n.log.Error("file system not opened", "fs", rec.Name, "err", err)
			continue
		}
		f.problems = f.checkExports(n.log)
		for _, p := range f.problems {
			n.log.Warn("found at start: "+p, "fs", rec.Name)
		}
		open[rec.Name] = f
	}
	n.mu.Lock()
	n.failed = failed
	n.mu.Unlock()
	n.open.Store(&open)
}

// publish puts f among the open file systems, or takes name out with nil.
func (n *Node) publish(name string, f *FileSystem) {
	next := maps.Clone(*n.open.Load())
	if f == nil {
		delete(next, name)
	} else {
		next[name] = f
	}
	n.open.Store(&next)
}

// checkExports compares the files below system/ with what is sealed, says
// what does not fit, writes the right ones over it, and keeps those of users
// up to date from then on.
func (f *FileSystem) checkExports(log *slog.Logger) (problems []string) {
	dir := f.parts.places.system
	for _, err := range []error{f.parts.keys.CheckExport(dir), f.checkPolicyExport()} {
		if err != nil {
			problems = append(problems, err.Error())
		}
	}
	problems = append(problems, f.Users.CheckExport(dir)...)
	if len(problems) > 0 {
		if err := f.writeExports(); err != nil {
			problems = append(problems, err.Error())
		}
	}
	f.Users.ExportTo(dir, log)
	return problems
}

// writeExports writes every file below system/ that people read.
func (f *FileSystem) writeExports() error {
	dir := f.parts.places.system
	return errors.Join(f.parts.keys.Export(dir), f.writePolicyExport(), f.Users.Export(dir))
}
