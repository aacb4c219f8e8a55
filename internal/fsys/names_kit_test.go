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
