package node

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/backup"
	"github.com/efs-project/efs/internal/blob/dir"
	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/index/bolt"
	"github.com/efs-project/efs/internal/journal"
	"github.com/efs-project/efs/internal/keyring"
	"github.com/efs-project/efs/internal/secret"
)

// RestoreResult tells what Restore did.
type RestoreResult struct {
	backup.Manifest
	AsOf     uint64 `json:"as_of"` // the sequence number that the restored file system goes on from
	Lost     int64  `json:"lost"`  // contents that the backup does not have
	Verified bool   `json:"verified"`

	// AccessLost is whether users, rights or the policy are known to have been
	// changed after the backup.
	AccessLost bool `json:"access_lost"`

	Problems []fsys.Problem `json:"problems"` // that the check found
}

// Restore brings back the file system that the backups in dir are of, as of the
// backup that which names (backup.Repository.Find), and serves it. Its keys must
// be here. Its anchor is set to what was restored; where it is known to have
// been further, its sequence numbers go on far above, so that none is used
// twice. With verify every content is read whole and compared with its digest,
// else each is opened.
//
// Nothing is replaced: efs.ErrExists if the file system is here, or anything
// lies where it would. It happens wholly or not at all; what a crash leaves, the
// next start removes. Problems of single files do not keep the rest from being
// restored: the result tells of them.
func (n *Node) Restore(ctx context.Context, dir, which string, verify bool, line func(string), progress func(done, total int64)) (out RestoreResult, err error) {
	ctx, cancel := n.untilClosed(ctx)
	defer cancel()
	if err := n.Serving(); err != nil {
		return out, err
	}
	repo, err := backup.Open(dir)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, repo.Close()) }()
	if out.Manifest, err = repo.Find(which); err != nil {
		return out, err
	}
	rec, keys, err := n.beginRestore(ctx, repo.About())
	if err != nil {
		return out, err
	}
	line(fmt.Sprintf("Restoring file system '%s' as of %s, change %d", rec.Name, out.Begun.Format("2006-01-02 15:04:05"), out.Sequence))
	f, err := n.rebuild(ctx, rec, keys, repo, &out, verify, line, progress)
	if err == nil {
		err = n.endRestore(rec, f)
	}
	if err != nil {
		return out, errors.Join(fmt.Errorf("restoring file system %s: %w", rec.Name, err), n.undoRestore(rec))
	}
	n.log.Info("file system restored", "fs", rec.Name, "backup", out.Name, "sequence", out.Sequence, "lost", out.Lost, "problems", len(out.Problems))
	return out, nil
}

// beginRestore records what is about to be restored, if that may be.
func (n *Node) beginRestore(ctx context.Context, about backup.About) (rec fsRecord, keys *keyring.Keys, err error) {
	n.admin.Lock()
	defer n.admin.Unlock()
	if err := n.Serving(); err != nil {
		return rec, nil, err
	}
	v := n.secrets()
	rec = fsRecord{ID: about.FS, Name: about.Name, Created: about.Created}
	for _, have := range v.registry.all() {
		switch {
		case have.ID == about.FS && have.Phase == phaseReady:
			rec = have
			rec.Was = phaseReady
		case have.ID == about.FS:
			return rec, nil, fmt.Errorf("file system %s is %s: %w", have.Name, have.Phase, efs.ErrExists)
		case have.Name == about.Name:
			return rec, nil, fmt.Errorf("another file system of the name %s: %w", have.Name, efs.ErrExists)
		}
	}
	if (*n.open.Load())[rec.Name] != nil {
		return rec, nil, fmt.Errorf("file system %s %w and is in service: nothing is restored over it; `efsctl drill` compares a backup with it", rec.Name, efs.ErrExists)
	}
	for _, top := range n.cfg.places(rec.Name).tops() {
		if _, err := os.Lstat(top); !errors.Is(err, os.ErrNotExist) {
			return rec, nil, fmt.Errorf("'%s' %w: nothing is restored over it; move it away first, or try `efsctl rebuild-index %s` if its index alone is lost", top, efs.ErrExists, rec.Name)
		}
	}
	if keys, err = v.ring.Keys(ctx, rec.ID); err != nil {
		return rec, nil, fmt.Errorf("the keys of file system %s (%s): %w; `efsctl restore-keys` takes them from a copy, `efsctl init --from` begins a root with them", rec.Name, rec.ID, err)
	}
	rec.Phase = phaseRestoring
	return rec, keys, v.registry.put(rec)
}

// rebuild puts contents and index in their places, opens the file system and
// checks it.
func (n *Node) rebuild(ctx context.Context, rec fsRecord, keys *keyring.Keys, repo *backup.Repository, out *RestoreResult, verify bool,
	line func(string), progress func(done, total int64)) (f *FileSystem, err error) {
	places := n.cfg.places(rec.Name)
	if err := n.buildDirectories(places, line); err != nil {
		return nil, err
	}
	if err := markRestoring(places, rec.ID); err != nil {
		return nil, err
	}
	known, _, err := n.anchor(rec.Name).Anchor(rec.ID)
	if err != nil {
		return nil, err
	}
	access, err := n.secrets().ring.AccessAnchor(ctx, rec.ID)
	if err != nil {
		return nil, err
	}
	if out.AccessLost = access > out.Revision; out.AccessLost {
		line("Users, certificates, grants or the policy were changed after this backup: they are as they were in it, and who was shut out since may come in again")
	}
	line(fmt.Sprintf("Copying %d contents", out.Contents))
	head, err := n.unpack(ctx, rec.ID, keys, repo, out, unpacking{places.index, places.files, known, false}, progress)
	if err != nil {
		return nil, err
	}
	out.AsOf = head.Seq
	if f, err = n.openFSWith(ctx, rec, func(o *fsys.Options) { o.Restored = true }); err != nil {
		return nil, err
	}
	line("Checking what was restored")
	report, err := f.Fsck(ctx, fsys.FsckOptions{Deep: verify, Repair: true, Progress: progress})
	if err == nil {
		err = f.writeExports()
	}
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	out.Verified = verify
	out.Files, out.Bytes = report.Files, report.Bytes // without what was forgotten since
	out.Problems = report.Left()
	f.Users.ExportTo(places.system, n.log)
	return f, nil
}

// unpacking says where a backup is unpacked to.
type unpacking struct {
	index, files string
	known        efs.Head // the newest that is known of the index
	link         bool     // contents may be linked
}

// aheadBy is how far above the newest known head a restored index goes on.
const aheadBy = 1_000_000

// unpack makes a store of contents and an index from a backup.
func (n *Node) unpack(ctx context.Context, id efs.ID, keys *keyring.Keys, repo *backup.Repository, out *RestoreResult, to unpacking,
	progress func(done, total int64)) (head efs.Head, err error) {
	blobs, err := dir.Create(to.files, dir.Options{FanOut: out.FanOut})
	if err != nil {
		return head, err
	}
	out.Lost, err = repo.CopyContents(ctx, out.Manifest, blobs, to.link, progress)
	if err = errors.Join(err, blobs.Close()); err != nil {
		return head, err
	}
	sealer, err := fsys.HeadSealer(id, keys)
	if err != nil {
		return head, err
	}
	key, err := keys.Root(journal.Purpose)
	if err != nil {
		return head, err
	}
	defer secret.Wipe(key)
	b, err := bolt.Build(to.index, id, sealer)
	if err != nil {
		return head, err
	}
	report, err := repo.ReadIndex(out.Manifest, key, &journal.Visitor{
		Put: func(k efs.Key, version uint64, sealed []byte) error {
			if err := ctx.Err(); err != nil || k.Space == efs.SpaceUploads {
				return err // parts of uploads that were not complete are in no backup
			}
			return b.Put(k, version, sealed)
		},
		Queue: b.Queue,
	})
	for account, u := range out.Usage {
		if err == nil {
			err = b.SetUsage(account, u)
		}
	}
	if err != nil {
		b.Abort()
		return head, err
	}
	head = report.Head
	if to.known.Revision > head.Revision || to.known.Seq > head.Seq {
		head.Revision = max(head.Revision, to.known.Revision) + aheadBy
		head.Seq = max(head.Seq, to.known.Seq) + aheadBy
	}
	return head, b.Finish(head)
}

// endRestore brings a restored file system into service.
func (n *Node) endRestore(rec fsRecord, f *FileSystem) error {
	n.admin.Lock()
	defer n.admin.Unlock()
	if err := n.Serving(); err != nil {
		return errors.Join(err, f.close())
	}
	rec.Phase, rec.Was = phaseReady, ""
	if err := n.secrets().registry.put(rec); err != nil {
		return errors.Join(err, f.close())
	}
	if err := unmarkRestoring(n.cfg.places(rec.Name)); err != nil {
		n.log.Warn("removing the marks of a restore that is done", "fs", rec.Name, "err", err) // they have no meaning any more
	}
	n.mu.Lock()
	delete(n.failed, rec.Name)
	n.mu.Unlock()
	n.publish(rec.Name, f)
	return nil
}

// undoRestore removes what a restore has left. The keys stay: they were there
// before it.
func (n *Node) undoRestore(rec fsRecord) error {
	if err := n.removeRestored(context.WithoutCancel(n.ctx), rec); err != nil {
		return fmt.Errorf("removing what was begun of %s, to be tried again at the next start: %w", rec.Name, err)
	}
	if rec.Was == phaseReady {
		rec.Phase, rec.Was = phaseReady, ""
		return n.secrets().registry.put(rec)
	}
	return n.secrets().registry.drop(rec.Name)
}
