package bolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/efs-project/efs"
	"go.etcd.io/bbolt"
)

// trimStep is how many changes one commit drops from the log.
const trimStep = 500

// SetMark creates or moves a mark, durably. Marks that have expired are
// removed by the way.
func (x *Index) SetMark(ctx context.Context, m efs.Mark) error {
	if err := checkMark(m.Kind, m.Name); err != nil {
		return err
	}
	_, err := x.submit(ctx, &request{weight: 1, givesBack: true, job: func(p *pass) error {
		b := p.tx.Bucket(bucketMarks)
		if err := dropExpired(b, time.Now()); err != nil {
			return err
		}
		return b.Put(markKey(m.Kind, m.Name), markValue(m))
	}})
	return err
}

// DropMark removes a mark, durably. One that does not exist is no error.
func (x *Index) DropMark(ctx context.Context, kind efs.MarkKind, name string) error {
	if err := checkMark(kind, name); err != nil {
		return err
	}
	_, err := x.submit(ctx, &request{weight: 1, givesBack: true, job: func(p *pass) error {
		return p.tx.Bucket(bucketMarks).Delete(markKey(kind, name))
	}})
	return err
}

// Marks returns the marks that have not expired, by kind and name.
func (x *Index) Marks(ctx context.Context) ([]efs.Mark, error) {
	var marks []efs.Mark
	err := x.view(ctx, func(tx *bbolt.Tx) error {
		return liveMarks(tx, func(m efs.Mark) { marks = append(marks, m) })
	})
	return marks, err
}

// TrimChanges drops changes with Seq <= upTo, except those that a follower
// still needs, in steps of trimStep changes. A step that is done stays done
// when ctx ends.
func (x *Index) TrimChanges(ctx context.Context, upTo uint64) error {
	for {
		dropped := 0
		_, err := x.submit(ctx, &request{weight: trimStep, givesBack: true, job: func(p *pass) (err error) {
			dropped, err = trim(p.tx, upTo)
			return err
		}})
		if err != nil || dropped < trimStep {
			return err
		}
	}
}

// trim drops up to trimStep changes from the start of the log.
func trim(tx *bbolt.Tx, upTo uint64) (dropped int, err error) {
	needed, bounded, err := lowestMark(tx, efs.MarkFollower)
	if err != nil {
		return 0, err
	}
	if bounded {
		upTo = min(upTo, needed)
	}
	b := tx.Bucket(bucketChanges)
	first, _ := b.Cursor().First()
	if first == nil {
		return 0, nil
	}
	// The log has no gaps, so what to drop is known without a cursor, which
	// deleting would disturb.
	for seq := binary.BigEndian.Uint64(first); seq <= upTo && dropped < trimStep; seq++ {
		k := seqKey(seq)
		if b.Get(k) == nil {
			return dropped, nil
		}
		if err := b.Delete(k); err != nil {
			return dropped, err
		}
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
func lowestMark(tx *bbolt.Tx, kind efs.MarkKind) (seq uint64, found bool, err error) {
	err = liveMarks(tx, func(m efs.Mark) {
		if m.Kind == kind && (!found || m.Seq < seq) {
			seq, found = m.Seq, true
		}
	})
	return seq, found, err
}

func liveMarks(tx *bbolt.Tx, fn func(efs.Mark)) error {
	now := time.Now()
	return tx.Bucket(bucketMarks).ForEach(func(k, v []byte) error {
		m, err := parseMark(k, v)
		if err == nil && !expired(m, now) {
			fn(m)
		}
		return err
	})
}

func dropExpired(b *bbolt.Bucket, now time.Time) error {
	var keys [][]byte
	err := b.ForEach(func(k, v []byte) error {
		m, err := parseMark(k, v)
		if err == nil && expired(m, now) {
			keys = append(keys, markKey(m.Kind, m.Name))
		}
		return err
	})
	for _, k := range keys {
		if err == nil {
			err = b.Delete(k)
		}
	}
	return err
}

func expired(m efs.Mark, now time.Time) bool {
	return !m.Expires.IsZero() && !now.Before(m.Expires)
}
