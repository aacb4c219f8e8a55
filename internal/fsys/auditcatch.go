package fsys

import (
	"context"
	"errors"
	"fmt"

	"github.com/efs-project/efs"
)

// openAudited gives every change of the last run that has no line in the audit
// log its line. Without a log it forgets how far that was, so that nothing is
// kept for it; and when there is one again, it begins with what comes then. A
// log that cannot be written keeps no file system closed: the next start goes
// on with it.
func (fs *FS) openAudited(ctx context.Context) error {
	fs.eras.now = newEra()
	r, version, err := fs.readRecorded(ctx)
	if fs.o.Audit == nil {
		if err == nil && version == 0 {
			return nil
		}
		return fs.endAudited(ctx)
	}
	fs.auditMu.Lock()
	defer fs.auditMu.Unlock()
	if err := fs.catchUp(ctx, r, version, err); err != nil {
		if fs.o.Index.Err() != nil || fs.o.Keys.Live() != nil || ctx.Err() != nil {
			return err
		}
		fs.behind = true
		fs.log.Error("lines of the last run are missing in the audit log until the next start", "err", err)
	}
	return nil
}

// readRecorded returns how far the audit log was; version 0: there was none.
func (fs *FS) readRecorded(ctx context.Context) (r recorded, version uint64, err error) {
	key := []byte{metaAudited}
	recs, err := fs.o.Index.Get(ctx, efs.Key{Space: efs.SpaceMeta, Bytes: key})
	if err != nil || recs[0].Version == 0 {
		return r, 0, err
	}
	return r, recs[0].Version, fs.open(efs.SpaceMeta, key, recs[0].Sealed, &r)
}

// endAudited forgets how far the audit log was.
func (fs *FS) endAudited(ctx context.Context) error {
	t := fs.begin(Who{})
	t.delete(efs.SpaceMeta, []byte{metaAudited})
	if _, err := t.commit(ctx); err != nil {
		return fmt.Errorf("forgetting how far the audit log was: %w", err)
	}
	return fs.o.Index.DropMark(ctx, efs.MarkFollower, auditMark)
}

// lookBack is how many of the last changes are looked at where it is not known
// how far the lines go: more than can be on their way when a server is killed.
const lookBack = 10_000

// catchUp hands over the lines that are missing after r, which is nowhere
// (version 0) or could not be read (err).
func (fs *FS) catchUp(ctx context.Context, r recorded, version uint64, err error) error {
	if err != nil && !errors.Is(err, efs.ErrDamaged) {
		return err
	}
	next := fs.o.Audit.Next()
	first, last, lerr := fs.o.Index.LogBounds(ctx)
	if lerr != nil {
		return lerr
	}
	r, why := fs.beginning(r, version, err, first, last)
	if r.Seq < last {
		err = fs.recoverLines(ctx, r, last)
		if errors.Is(err, efs.ErrDamaged) {
			fs.log.Error("changes of the last run could not be read for the audit log", "err", err)
			why, err = fmt.Sprintf("changes after %d could not all be read", r.Seq), nil
		}
		if err != nil {
			return err
		}
	}
	if why != "" {
		if err := fs.o.Audit.Begin(ctx, fs, last, why); err != nil {
			return err
		}
	}
	if r.Seq == last && version != 0 && why == "" {
		fs.recorded = r
		return fs.ensureMark(ctx)
	}
	if err := fs.o.Audit.Sync(ctx); err != nil {
		return err
	}
	if err := fs.putRecorded(ctx, recorded{last, next}); err != nil {
		return err
	}
	return fs.ensureMark(ctx)
}

// beginning says after which change lines may be missing, of those in the log,
// and why that is not all that there may be to say.
func (fs *FS) beginning(r recorded, version uint64, err error, first, last uint64) (recorded, string) {
	unknown := recorded{Seq: first - 1}
	if last > lookBack {
		unknown.Seq = max(unknown.Seq, last-lookBack)
	}
	switch {
	case err != nil:
		return unknown, "how far the lines of the last run went could not be read"
	case version == 0 && last == 0:
		return recorded{}, ""
	case version == 0:
		return unknown, "it was not recorded before"
	case r.Seq > last:
		return unknown, fmt.Sprintf("the last run had recorded change %d, which is not there", r.Seq)
	case r.Seq+1 < first:
		return recorded{first - 1, r.Line}, fmt.Sprintf("changes %d to %d are no longer there to be recorded", r.Seq+1, first-1)
	case fs.rolledBack:
		return r, "an index older than its anchor was accepted; numbers of changes after this one come again"
	}
	return r, ""
}

// ensureMark makes the mark of a file system that is opened.
func (fs *FS) ensureMark(ctx context.Context) error {
	marks, err := fs.o.Index.Marks(ctx)
	if err != nil {
		return err
	}
	for _, m := range marks {
		if m.Kind == efs.MarkFollower && m.Name == auditMark && m.Seq <= fs.recorded.Seq {
			fs.marked = m.Seq
			return nil
		}
	}
	fs.marked = fs.recorded.Seq
	return fs.o.Index.SetMark(ctx, efs.Mark{Kind: efs.MarkFollower, Name: auditMark, Seq: fs.marked})
}

// recoverLines hands over the lines of changes after r that have none.
func (fs *FS) recoverLines(ctx context.Context, r recorded, last uint64) error {
	have := map[uint64]string{}
	err := fs.o.Audit.Lines(ctx, fs.o.ID, r.Line, func(seq uint64, request string) { have[seq] = request })
	if err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	n := 0
	for since := r.Seq; since < last; {
		page, err := fs.Changes(ctx, since, scanPage)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return fmt.Errorf("change %d: %w: it is missing", since+1, efs.ErrDamaged)
		}
		for i := range page {
			c := &page[i]
			since = c.Seq
			if request, ok := have[c.Seq]; c.Origin == nil || ok && request == c.Origin.Request {
				continue
			}
			if err := fs.recoverLine(ctx, c); err != nil {
				return err
			}
			n++
		}
	}
	if n > 0 {
		fs.log.Info("changes of the last run were recorded in the audit log", "changes", n)
	}
	return nil
}

// recoverLine hands over the line of c. Where a path cannot be sealed any more
// the line is without.
func (fs *FS) recoverLine(ctx context.Context, c *efs.Change) error {
	from, to := c.Path, ""
	if c.Op == efs.OpMove {
		from, to = c.From, c.Path
	}
	name := c.Origin.Name
	if name != nil {
		to = c.Path
	} else if label, err := fs.SealLabel(ctx, from); err == nil {
		name = label
	}
	var target []byte
	if to != "" {
		if label, err := fs.SealLabel(ctx, to); err == nil {
			target = label
		}
	}
	return fs.o.Audit.Recover(ctx, fs, c, name, target)
}
