package node

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/journal"
)

// JournalConfig says whether file systems have a journal beside their contents.
type JournalConfig struct {
	Enabled  bool
	Interval time.Duration // longest time between two checkpoints; 0: journal.DefaultInterval
}

// journal is the directory of a file system's journal.
func (p places) journal() string { return filepath.Join(p.files, journal.Dir) }

// keepJournal begins to follow an index that was just opened, before anything is
// committed, so that the journal can go on where it ended. It is written once it
// is known that the index is the right one (runJournal).
func (p *parts) keepJournal(n *Node, name string) error {
	if !n.cfg.Journal.Enabled {
		return nil
	}
	key, err := p.keys.Root(journal.Purpose)
	if err != nil {
		return fmt.Errorf("key of the journal: %w", err)
	}
	defer clear(key)
	p.journal, err = journal.Start(journal.Options{
		Dir: p.places.journal(), Key: key, Index: p.index,
		Interval: n.cfg.Journal.Interval, Logger: n.log.With("fs", name), Clock: n.clock,
	})
	return err
}

func (p *parts) runJournal() {
	if p.journal != nil {
		p.journal.Run()
	}
}

// JournalStatus is how a file system's journal is.
type JournalStatus struct {
	State      journal.State `json:"state"`
	Reason     string        `json:"reason,omitempty"`
	Seq        uint64        `json:"seq"`                 // of the last change that it leads to
	Behind     time.Time     `json:"behind,omitzero"`     // since when it lacks something
	Checkpoint time.Time     `json:"checkpoint,omitzero"` // made since the start
	Bytes      int64         `json:"bytes"`
	Revision   uint64        `json:"revision"`

	Made, Gaps uint64 `json:"-"`
}

// Journal tells how the file system's journal is; nil: it has none.
func (f *FileSystem) Journal() *JournalStatus {
	k := f.parts.journal
	if k == nil {
		return nil
	}
	s := k.Status()
	return &JournalStatus{s.State, s.Reason, s.Head.Seq, s.Behind, s.Checkpoint, s.Bytes, s.Head.Revision, s.Made, s.Gaps}
}

// Fsck checks the file system, and whether its journal can be read and leads to
// where it is said to.
func (f *FileSystem) Fsck(ctx context.Context, o fsys.FsckOptions) (*fsys.FsckReport, error) {
	report, err := f.FS.Fsck(ctx, o)
	if err != nil {
		return report, err
	}
	p, err := f.journalProblem(ctx, o.Repair)
	if p != nil {
		report.Problems = append(report.Problems, *p)
	}
	return report, err
}

// ProblemJournal is the kind of a problem of the journal.
const ProblemJournal = "journal"

func (f *FileSystem) journalProblem(ctx context.Context, repair bool) (*fsys.Problem, error) {
	k := f.parts.journal
	if k == nil {
		return nil, nil
	}
	s := k.Status()
	switch s.State {
	case journal.Checkpointing:
		return nil, nil // it says itself that it leads nowhere yet
	case journal.Paused:
		return &fsys.Problem{Kind: ProblemJournal, Detail: "the journal is not written: " + s.Reason,
			Remedy: "make room on the volume of the contents, or mend it: the journal goes on by itself"}, nil
	}
	if s.Head.Revision == 0 {
		return nil, nil // of a new file system: nothing was written yet
	}
	key, err := f.parts.keys.Root(journal.Purpose)
	if err != nil {
		return nil, fmt.Errorf("key of the journal: %w", err)
	}
	defer clear(key)
	p := &fsys.Problem{Kind: ProblemJournal, Remedy: "run fsck with --repair: a new checkpoint is made"}
	rep, err := journal.Verify(ctx, f.parts.places.journal(), key)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		p.Detail = err.Error()
	case !rep.Complete:
		p.Detail = fmt.Sprintf("the journal leads to change %d only: %s", rep.Seq, rep.Lost)
	case rep.Revision < s.Head.Revision:
		p.Detail = fmt.Sprintf("the journal leads to change %d, not to %d, which was written to it", rep.Seq, s.Head.Seq)
	default:
		return nil, nil
	}
	if repair {
		k.Renew()
		p.Repaired = true
	}
	return p, nil
}
