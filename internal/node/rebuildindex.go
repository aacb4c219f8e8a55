package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/atomicfile"
	"github.com/efs-project/efs/internal/blob/dir"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/index/bolt"
	"github.com/efs-project/efs/internal/journal"
	"github.com/efs-project/efs/internal/keyring"
)

// RebuildResult tells what RebuildIndex did.
type RebuildResult struct {
	Sequence uint64 `json:"sequence"`       // of the last change that the journal led to
	Known    uint64 `json:"known"`          // of the newest change that the anchor knows
	Complete bool   `json:"complete"`       // all of the journal could be read
	Lost     string `json:"lost,omitempty"` // what of it could not
	GoesOn   uint64 `json:"goes_on"`        // the sequence number that the new index goes on from

	// AccessLost is whether users, rights or the policy are known to have been
	// changed after the journal's end, or may be missing of a damaged checkpoint.
	AccessLost bool   `json:"access_lost"`
	Aside      string `json:"aside,omitempty"`
	fsys.RebuildReport

	holes bool // in the tree, as a part of a checkpoint is lost
}

// rebuildSuffix is that of an index that is being made anew.
const rebuildSuffix = ".rebuild"

// RebuildIndex makes the index of a file system that is not open anew, from its
// journal and its contents, and brings the file system into service. The old
// index is moved aside. Cut off at any time it can be begun again; nothing on the
// volume of the contents is changed.
//
// Errors: efs.ErrNotFound (no such file system, or it has no journal),
// efs.ErrRefused (it is open), efs.ErrRolledBack (users, rights or policy were
// changed after the journal's end, and acceptRollback is not given), efs.ErrDamaged (of the journal not enough opens),
// what its KMS answers, efs.ErrNoSpace.
func (n *Node) RebuildIndex(ctx context.Context, name string, acceptRollback bool, line func(string), progress func(done, total int64)) (out RebuildResult, err error) {
	n.admin.Lock()
	defer n.admin.Unlock()
	if err := n.Serving(); err != nil {
		return out, err
	}
	rec, ok := n.secrets().registry.get(name)
	if !ok || rec.Phase != phaseReady {
		return out, fmt.Errorf("file system %q: %w", name, efs.ErrNotFound)
	}
	if (*n.open.Load())[name] != nil {
		return out, fmt.Errorf("file system %s is open, with an index that is good: %w: nothing is made anew (`efsctl fsck %s` checks it)", name, efs.ErrRefused, name)
	}
	places := n.cfg.places(name)
	fresh := places.index + rebuildSuffix
	// Once the new index begins to take the old one's place, that is finished.
	if err := n.makeIndex(ctx, rec, fresh, acceptRollback, &out, line, progress); err != nil {
		return out, errors.Join(fmt.Errorf("making the index of file system %s anew: %w", name, err), bolt.RemoveFiles(fresh))
	}
	if out.Aside, err = n.moveAside(places.index); err != nil {
		return out, fmt.Errorf("moving the old index of file system %s aside: %w", name, err)
	}
	if out.Aside != "" {
		line(fmt.Sprintf("The old index is '%s' now", out.Aside))
	}
	if err := errors.Join(os.Rename(fresh, places.index), bolt.RemoveFiles(fresh), atomicfile.SyncDir(filepath.Dir(fresh))); err != nil {
		return out, fmt.Errorf("putting the new index of file system %s in its place: %w", name, err)
	}
	n.log.Warn("index made anew from the journal", "fs", name, "sequence", out.Sequence, "known", out.Known,
		"recovered", out.RecoveredFiles, "gone", out.GoneFiles, "unopened", len(out.Unopened))
	if err := n.openLateWith(context.WithoutCancel(ctx), rec, func(o *fsys.Options) { o.Restored = true }); err != nil {
		return out, fmt.Errorf("the index of file system %s is made anew, but it does not open: %w", name, err)
	}
	if out.holes {
		return out, n.mendRebuilt(ctx, name, line, progress)
	}
	return out, nil
}

// mendRebuilt repairs what a rebuild cannot of an index that was made of a
// checkpoint with holes, and tells how much is left.
func (n *Node) mendRebuilt(ctx context.Context, name string, line func(string), progress func(done, total int64)) error {
	f, err := n.FS(name)
	if err != nil {
		return err
	}
	line("Checking what was made of a damaged journal")
	report, err := f.Fsck(ctx, fsys.FsckOptions{Repair: true, Progress: progress})
	if err != nil {
		return fmt.Errorf("the index of file system %s is made anew and it is served; checking it: %w", name, err)
	}
	if left := len(report.Left()); left > 0 {
		line(fmt.Sprintf("Problems are left, %d; `efsctl fsck %s` tells which", left, name))
	}
	return nil
}

// makeIndex makes an index at path.
func (n *Node) makeIndex(ctx context.Context, rec fsRecord, path string, acceptRollback bool, out *RebuildResult, line func(string), progress func(done, total int64)) error {
	v := n.secrets()
	keys, err := v.ring.Keys(ctx, rec.ID)
	if err != nil {
		return fmt.Errorf("its keys: %w", err)
	}
	anchor, _, err := n.anchor(rec.Name).Anchor(rec.ID)
	if err != nil {
		return err
	}
	line("Reading the journal")
	head, err := n.replayJournal(ctx, rec, keys, path, anchor, out)
	if err != nil {
		return err
	}
	out.GoesOn = head.Seq
	line(fmt.Sprintf("The journal leads to change %d", out.Sequence))
	if out.Lost != "" {
		line("Not all of it could be read: " + out.Lost)
	}
	if out.Known > out.Sequence {
		line(fmt.Sprintf("Changes %d to %d, and perhaps some after them, are not in it", out.Sequence+1, out.Known))
	}
	if out.holes && !out.AccessLost {
		out.AccessLost = true
		line("Part of a checkpoint is lost, with revocations perhaps: who was shut out may come in again")
		if !acceptRollback {
			return fmt.Errorf("%w: a part of the journal's checkpoint is lost, and it cannot be told whether users, rights or revocations lay in it; "+
				"`efsctl restore` brings a backup back; to go on with what is left give --accept-rollback, and shut out again who was shut out", efs.ErrRolledBack)
		}
	} else if out.AccessLost {
		line("Users, certificates, grants or the policy were changed after it: who was shut out then may come in again")
		if !acceptRollback {
			return fmt.Errorf("%w: the journal ends before the last change of users, rights or policy; see in the audit log what that was (`efsctl audit show --fs %s`), "+
				"then give --accept-rollback, and make the change again", efs.ErrRolledBack, rec.Name)
		}
	}
	line("Looking at the contents")
	return n.rebuildFrom(ctx, rec, keys, path, out, progress)
}

// replayJournal reads the journal into a new index at path, and returns the
// head that it is given.
func (n *Node) replayJournal(ctx context.Context, rec fsRecord, keys *keyring.Keys, path string, anchor efs.Head, out *RebuildResult) (head efs.Head, err error) {
	sealer, err := fsys.HeadSealer(rec.ID, keys)
	if err != nil {
		return head, err
	}
	key, err := keys.Root(journal.Purpose)
	if err != nil {
		return head, fmt.Errorf("key of the journal: %w", err)
	}
	defer clear(key)
	if err := bolt.RemoveFiles(path); err != nil { // of an attempt that was cut off
		return head, err
	}
	b, err := bolt.Build(path, rec.ID, sealer)
	if err != nil {
		return head, err
	}
	rep, err := journal.ReplayTo(n.cfg.places(rec.Name).journal(), key, &journal.Visitor{
		Put: func(k efs.Key, version uint64, sealed []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return b.Put(k, version, sealed)
		},
		Delete: b.Delete, Queue: b.Queue, Unqueue: b.Unqueue,
	})
	if err == nil && rep.Head.FS != rec.ID {
		err = fmt.Errorf("%w: the journal is that of file system %s", efs.ErrDamaged, rep.Head.FS)
	}
	if err != nil {
		b.Abort()
		return head, err
	}
	out.Sequence, out.Known, out.Complete, out.Lost = rep.Seq, anchor.Seq, rep.Complete, rep.Lost
	out.holes = rep.Holes
	access, err := n.secrets().ring.AccessAnchor(ctx, rec.ID)
	if err != nil {
		b.Abort()
		return head, err
	}
	out.AccessLost = access > rep.Revision
	// Whatever was given out after the journal's end, it is not given out again.
	head = rep.Head
	head.Seq = max(rep.Seq, anchor.Seq) + aheadBy
	head.Revision = max(rep.Revision, anchor.Revision) + aheadBy
	head.Time = n.clock().UnixMicro()
	return head, b.Finish(head)
}

// rebuildFrom compares the index at path with the contents, and closes it.
func (n *Node) rebuildFrom(ctx context.Context, rec fsRecord, keys *keyring.Keys, path string, out *RebuildResult, progress func(done, total int64)) (err error) {
	p := &parts{places: n.cfg.places(rec.Name), keys: keys}
	defer func() { err = errors.Join(err, p.close()) }()
	sealer, err := fsys.HeadSealer(rec.ID, keys)
	if err != nil {
		return err
	}
	if p.index, err = bolt.Open(path, rec.ID, sealer, bolt.Options{}); err != nil {
		return err
	}
	if p.blobs, err = dir.Open(p.places.files, dir.Options{}); err != nil {
		return err
	}
	report, err := fsys.Rebuild(ctx, fsys.Options{
		ID: rec.ID, Name: rec.Name, Index: p.index, Blobs: p.blobs, Keys: keys, Logger: n.log, Clock: n.clock,
	}, out.holes, progress)
	if err == nil {
		out.RebuildReport = *report
	}
	return err
}

// moveAside renames the files of an index, and returns the new name of the
// first; "" if there are none.
func (n *Node) moveAside(index string) (aside string, err error) {
	to := index + ".old-" + n.clock().UTC().Format(strings.ReplaceAll(time.DateTime, " ", "T"))
	to = strings.ReplaceAll(to, ":", "")
	names, targets := bolt.Files(index), bolt.Files(to)
	for i := len(names) - 1; i >= 0; i-- { // the index itself last
		if _, err := os.Lstat(targets[i]); err == nil {
			return "", fmt.Errorf("'%s' %w", targets[i], efs.ErrExists)
		}
		switch err := os.Rename(names[i], targets[i]); {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return "", err
		default:
			aside = to
		}
	}
	return aside, atomicfile.SyncDir(filepath.Dir(index))
}
