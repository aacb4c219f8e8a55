package fsys

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/efs-project/efs"
)

// Auditor is the audit log as a file system needs it, to give every committed
// change of a request its line even if the server was killed in between.
type Auditor interface {
	// Next is at most the number of any line that is handed over from now on.
	Next() uint64
	// Sync makes durable what has been handed over.
	Sync(ctx context.Context) error
	// Lines calls fn for the lines of fs's changes, from line number from on.
	Lines(ctx context.Context, fs efs.ID, from uint64, fn func(seq uint64, request string)) error
	// Recover hands over the line of a change that has none. name and to are
	// sealed labels; to is nil unless something was moved or copied.
	Recover(ctx context.Context, fs *FS, c *efs.Change, name, to []byte) error
	// Begin says from which change on those of fs have lines, and why not
	// those before.
	Begin(ctx context.Context, fs *FS, after uint64, why string) error
}

// metaAudited is the key in SpaceMeta of how far changes have their lines. It
// is sealed: a mark of the index, which is not, only keeps the log for it.
const metaAudited = 'a'

const (
	auditMark  = "audit"     // of the change log
	auditEvery = time.Second // the record is moved
	auditWait  = 5 * time.Second
)

// recorded says that every change up to Seq whose Origin is set has its line
// in the audit log, and that those of later ones are at line Line or behind it.
type recorded struct {
	Seq  uint64 `cbor:"1,keyasint"`
	Line uint64 `cbor:"2,keyasint"`
}

// auditing is how far the audit log has got with the changes.
type auditing struct {
	eras eras

	auditMu  sync.Mutex // guards what follows
	recorded recorded
	marked   uint64 // where the mark is
	behind   bool   // lines of the last run are missing: nothing is moved until the next start
}

// keepAudited moves the record on to the newest change, once all lines up to it
// are durable.
func (fs *FS) keepAudited(ctx context.Context) error {
	if fs.o.Audit == nil {
		return nil
	}
	fs.auditMu.Lock()
	defer fs.auditMu.Unlock()
	if fs.behind {
		return nil
	}
	next := fs.o.Audit.Next() // before the head is read: lines of what is committed after come later
	h, err := fs.o.Index.Head(ctx)
	if err != nil || h.Seq == fs.recorded.Seq {
		return err
	}
	if err := fs.eras.wait(ctx); err != nil {
		return fmt.Errorf("waiting for lines of the audit log: %w", err)
	}
	if err := fs.o.Audit.Sync(ctx); err != nil {
		return err
	}
	return fs.putRecorded(ctx, recorded{h.Seq, next})
}

// putRecorded keeps r. Called with auditMu held.
func (fs *FS) putRecorded(ctx context.Context, r recorded) error {
	t := fs.begin(Who{})
	t.put(efs.SpaceMeta, []byte{metaAudited}, r)
	if _, err := t.commit(ctx); err != nil {
		return fmt.Errorf("keeping how far the audit log is: %w", err)
	}
	fs.recorded = r
	return nil
}

// markAudited lets the change log be trimmed up to what has its lines.
func (fs *FS) markAudited(ctx context.Context) error {
	if fs.o.Audit == nil {
		return nil
	}
	fs.auditMu.Lock()
	defer fs.auditMu.Unlock()
	if fs.behind || fs.marked == fs.recorded.Seq {
		return nil
	}
	if err := fs.o.Index.SetMark(ctx, efs.Mark{Kind: efs.MarkFollower, Name: auditMark, Seq: fs.recorded.Seq}); err != nil {
		return fmt.Errorf("keeping the change log for the audit log: %w", err)
	}
	fs.marked = fs.recorded.Seq
	return nil
}

// closeAudited moves the record on once more. What it does not get to, the
// next start does.
func (fs *FS) closeAudited() {
	ctx, cancel := context.WithTimeout(context.Background(), auditWait)
	defer cancel()
	if err := fs.keepAudited(ctx); err != nil && fs.o.Index.Err() == nil {
		fs.log.Warn("the audit log is completed at the next start", "err", err)
	}
}
