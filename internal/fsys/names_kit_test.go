package fsys

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/efs-project/efs"
)

func emptyBody() io.Reader { return bytes.NewReader(nil) }

var errStop = errors.New("stopped by the test")

// stopping is an index that commits a number of times while it is on, and
// then nothing more.
type stopping struct {
	efs.Index
	on   atomic.Bool
	left atomic.Int32
}

func (s *stopping) Commit(ctx context.Context, t *efs.Txn) (efs.Committed, error) {
	if s.on.Load() && s.left.Add(-1) < 0 {
		return efs.Committed{}, errStop
	}
	return s.Index.Commit(ctx, t)
}

// counting is an index that counts the records it is asked for.
type counting struct {
	efs.Index
	gets atomic.Int64
}

func (c *counting) Get(ctx context.Context, keys ...efs.Key) ([]efs.Record, error) {
	c.gets.Add(int64(len(keys)))
	return c.Index.Get(ctx, keys...)
}

// meddling is an index in which a commit can be held back, and something can
// be done behind the first page of a scan.
type meddling struct {
	efs.Index
	hold   atomic.Bool // the next commit
	held   chan struct{}
	letGo  chan struct{}
	behind atomic.Pointer[func()]
}

func (m *meddling) Commit(ctx context.Context, t *efs.Txn) (efs.Committed, error) {
	if m.hold.CompareAndSwap(true, false) {
		close(m.held)
		<-m.letGo
	}
	return m.Index.Commit(ctx, t)
}

func (m *meddling) Scan(ctx context.Context, space efs.Space, prefix, after []byte, limit int) ([]efs.Record, error) {
	recs, err := m.Index.Scan(ctx, space, prefix, after, limit)
	if space == efs.SpaceNames && len(prefix) == 17 && prefix[16] == namesChangeTag && len(recs) == limit {
		if do := m.behind.Swap(nil); do != nil {
			(*do)()
		}
	}
	return recs, err
}
