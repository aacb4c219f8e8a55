package salvage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/index/bolt"
	"github.com/efs-project/efs/internal/journal"
	"github.com/efs-project/efs/internal/record"
	"github.com/efs-project/efs/internal/secret"
)

// Source says where the tree is read from.
type Source string

// The sources. Auto is the index, or the journal where that is missing, damaged,
// in use or older; then the trailers of the contents.
const (
	Auto     Source = "auto"
	Index    Source = "index"
	Journal  Source = "journal"
	Trailers Source = "contents"
)

// state is a tree as of one change.
type state struct {
	records Records // nil: none
	from    Source
	what    string   // of where it came from, for people
	head    efs.Head // zero: none
	whole   bool     // everything up to head is in it, and head is the newest known
	holes   bool     // records are missing of it: directories may hang in nothing
	notes   []string
	lacks   []Missing // that are known to be
}

func (s *state) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

var noTree = Missing{Path: "the tree", Why: "neither index nor journal is read, which have names and small files"}

// openState opens the newest tree that there is.
func openState(ctx context.Context, p Place, k *Keys, o Options) (*state, error) {
	s := &state{from: Trailers}
	if o.Checkpoint != "" {
		return s, s.fromCheckpoint(k, o)
	}
	if o.From == Trailers {
		s.lacks = append(s.lacks, noTree)
		return s, nil
	}
	anchor, anchored, err := k.ring.Anchor(k.ID)
	if err != nil {
		s.note("the anchor of the index cannot be read: whether it is the newest is not known (%v)", err)
	}
	if o.From == Auto || o.From == Index {
		err := s.fromIndex(p, k)
		switch {
		case err == nil && anchored && (s.head.Seq < anchor.Seq || s.head.Revision < anchor.Revision):
			s.note("the index is older than its anchor: change %d of %d", s.head.Seq, anchor.Seq)
		case err == nil:
			s.whole = true
			return s, nil
		case o.From == Index:
			return nil, err
		default:
			s.note("the index is not used: %v", err)
		}
	}
	if err := s.fromJournal(p, k, o); err != nil {
		if o.From == Journal || errors.Is(err, errScratch) {
			return nil, errors.Join(err, s.close())
		}
		s.note("the journal is not used: %v", err)
	}
	switch {
	case anchored && s.head.Seq < anchor.Seq:
		s.lacks = append(s.lacks, Missing{Path: fmt.Sprintf("changes %d to %d", s.head.Seq+1, anchor.Seq),
			Why: "they were made, and neither index nor journal has them"})
	case s.records == nil:
		s.lacks = append(s.lacks, noTree)
	}
	return s, ctx.Err()
}

func (s *state) fromIndex(p Place, k *Keys) error {
	sealer, err := newSealer(k)
	if err != nil {
		return err
	}
	x, err := bolt.OpenReadOnly(p.Index, k.ID, sealer)
	if errors.Is(err, efs.ErrUnavailable) {
		return fmt.Errorf("a server has it open: %w", err)
	}
	if err != nil {
		return err
	}
	s.records, s.from, s.head, s.what = x, Index, x.Head(), "the index"
	return nil
}

func newSealer(k *Keys) (*record.Sealer, error) {
	root, err := k.Root("index")
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(root)
	return record.New(k.ID, root)
}

func (s *state) fromJournal(p Place, k *Keys, o Options) error {
	return s.replayed(k, o, "the journal", func(key []byte, put func(efs.Key, []byte) error, del func(efs.Key) error) (journal.Report, error) {
		return journal.Replay(p.journal(), key, put, del)
	})
}

func (s *state) fromCheckpoint(k *Keys, o Options) error {
	f, err := os.Open(o.Checkpoint)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	return s.replayed(k, o, "the checkpoint", func(key []byte, put func(efs.Key, []byte) error, _ func(efs.Key) error) (journal.Report, error) {
		return journal.ReadCheckpoint(f, key, put)
	})
}

// replayed takes what read gives, if it is newer than what there is.
func (s *state) replayed(k *Keys, o Options, what string, read func([]byte, func(efs.Key, []byte) error, func(efs.Key) error) (journal.Report, error)) error {
	key, err := k.Root(journal.Purpose)
	if err != nil {
		return err
	}
	defer secret.Wipe(key)
	r, rep, err := replay(o.Scratch, func(put func(efs.Key, []byte) error, del func(efs.Key) error) (journal.Report, error) {
		return read(key, put, del)
	})
	if err != nil {
		return err
	}
	if s.records != nil && rep.Revision <= s.head.Revision {
		s.note("%s is no newer: change %d", what, rep.Seq)
		return r.Close()
	}
	if s.records != nil {
		if err := s.records.Close(); err != nil {
			return errors.Join(err, r.Close())
		}
	}
	s.records, s.from, s.head, s.what = r, Journal, rep.Head, what
	s.holes = rep.Holes
	if !rep.Complete {
		s.lacks = append(s.lacks, Missing{Path: what, Why: "it is not whole: " + rep.Lost})
	}
	return nil
}

// String tells where the tree came from and how far it goes.
func (s *state) String() string {
	if s.records == nil {
		return "there is no index and no journal: only what the contents themselves tell"
	}
	return fmt.Sprintf("%s goes up to change %d, of %s", s.what, s.head.Seq, time.UnixMicro(s.head.Time).Format(time.DateTime))
}

func (s *state) close() error {
	if s.records == nil {
		return nil
	}
	return s.records.Close()
}
