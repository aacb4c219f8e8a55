package bolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/efs-project/efs"
)

// How many changes and marks one commit drops.
const (
	trimStep = 500
	dropStep = 50
)

// SetMark creates or moves a mark, durably. Marks that have expired are
// removed by the way.
func (x *Index) SetMark(ctx context.Context, m efs.Mark) error {
	if err := checkMark(m.Kind, m.Name); err != nil {
		return err
	}
	_, err := x.submit(ctx, housekeeping(dropStep, 1+maxMarkName, func(p *pass) error {
		if err := dropExpired(p, time.Now()); err != nil {
			return err
		}
		copy(p.put(bucketMarks, markKey(m.Kind, m.Name), markValueLen), markValue(m))
		return nil
	}))
	return err
}

// DropMark removes a mark, durably. One that does not exist is no error.
func (x *Index) DropMark(ctx context.Context, kind efs.MarkKind, name string) error {
	if err := checkMark(kind, name); err != nil {
		return err
	}
	_, err := x.submit(ctx, housekeeping(1, 1+maxMarkName, func(p *pass) error {
		p.delete(bucketMarks, markKey(kind, name))
		return nil
	}))
	return err
}

// Marks returns the marks that have not expired, by kind and name.
func (x *Index) Marks(ctx context.Context) ([]efs.Mark, error) {
	var marks []efs.Mark
	err := x.view(ctx, func(s *snapshot) error {
		return liveMarks(s, func(m efs.Mark) { marks = append(marks, m) })
	})
	return marks, err
}

// TrimChanges drops changes with Seq <= upTo, except those that a follower
// still needs, in steps of trimStep changes. A step that is done stays done
// when ctx ends.
func (x *Index) TrimChanges(ctx context.Context, upTo uint64) error {
	for {
		dropped := 0
		_, err := x.submit(ctx, housekeeping(trimStep, seqLen, func(p *pass) (err error) {
			dropped, err = trim(p, upTo)
			return err
		}))
		if err != nil || dropped < trimStep {
			return err
		}
	}
}

// trim drops up to trimStep changes from the start of the log.
func trim(p *pass, upTo uint64) (dropped int, err error) {
	needed, bounded, err := lowestMark(p.snapshot, efs.MarkFollower)
	if err != nil {
		return 0, err
	}
	if bounded {
		upTo = min(upTo, needed)
	}
	_, first, _ := p.seek(bucketChanges, nil)
	if first == nil {
		return 0, nil
	}
	// The log has no gaps, so it is known what to drop.
	for seq := binary.BigEndian.Uint64(first); seq <= min(upTo, p.head.Seq) && dropped < trimStep; seq++ {
		p.delete(bucketChanges, seqKey(seq))
		dropped++
	}
	return dropped, nil
}

func checkMark(kind efs.MarkKind, name string) error {
	if kind != efs.MarkHold && kind != efs.MarkFollower {
		return fmt.Errorf("mark of unknown kind %d: %w", kind, efs.ErrBadInput)
	}
	if name == "" || len(name) > maxMarkName {
		return fmt.Errorf("name of a mark must have 1 to %d bytes: %w", maxMarkName, efs.ErrBadInput)
	}
	return nil
}

// lowestMark returns the lowest sequence number that a live mark of a kind
// names, if there is one.
func lowestMark(s *snapshot, kind efs.MarkKind) (seq uint64, found bool, err error) {
	err = liveMarks(s, func(m efs.Mark) {
		if m.Kind == kind && (!found || m.Seq < seq) {
			seq, found = m.Seq, true
		}
	})
	return seq, found, err
}

func liveMarks(s *snapshot, fn func(efs.Mark)) error {
	now := time.Now()
	return eachMark(s, func(m efs.Mark) {
		if !expired(m, now) {
			fn(m)
		}
	})
}

func eachMark(s *snapshot, fn func(efs.Mark)) error {
	for c, k, v := s.seek(bucketMarks, nil); k != nil; k, v = c.next() {
		m, err := parseMark(k, v)
		if err != nil {
			return err
		}
		fn(m)
	}
	return nil
}

// dropExpired deletes up to dropStep marks that have expired.
func dropExpired(p *pass, now time.Time) error {
	var gone []efs.Mark
	err := eachMark(p.snapshot, func(m efs.Mark) {
		if expired(m, now) && len(gone) < dropStep {
			gone = append(gone, m)
		}
	})
	for _, m := range gone {
		p.delete(bucketMarks, markKey(m.Kind, m.Name))
	}
	return err
}

func expired(m efs.Mark, now time.Time) bool {
	return !m.Expires.IsZero() && !now.Before(m.Expires)
}
