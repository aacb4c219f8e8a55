package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/efs-project/efs"
)

// Get returns the records under keys; see efs.Index.
func (x *Index) Get(ctx context.Context, keys ...efs.Key) ([]efs.Record, error) {
	var records []efs.Record
	err := x.view(ctx, func(s *snapshot) (err error) { records, err = s.records(keys); return err })
	return records, err
}

// records returns those under keys, in memory of their own.
func (s *snapshot) records(keys []efs.Key) ([]efs.Record, error) {
	for _, k := range keys {
		if err := checkKey(k, false); err != nil {
			return nil, err
		}
	}
	records := make([]efs.Record, len(keys))
	for i, k := range keys {
		records[i] = record(k.Bytes, s.get(byte(k.Space), k.Bytes))
	}
	own(records)
	return records, nil
}

// record splits a stored value, without copying. No value: a record of
// version 0.
func record(key, v []byte) efs.Record {
	if len(v) < versionLen {
		return efs.Record{Key: key}
	}
	return efs.Record{Key: key, Version: recordVersion(v), Sealed: v[versionLen:]}
}

// own moves sealed values out of the snapshot's memory, all into one allocation.
func own(records []efs.Record) {
	n := 0
	for i := range records {
		n += len(records[i].Sealed)
	}
	buf := make([]byte, 0, n)
	for i := range records {
		if r := &records[i]; r.Version != 0 {
			from := len(buf)
			buf = append(buf, r.Sealed...)
			r.Sealed = buf[from:len(buf):len(buf)]
		}
	}
}

// Scan returns records in byte order; see efs.Index.
func (x *Index) Scan(ctx context.Context, space efs.Space, prefix, after []byte, limit int) ([]efs.Record, error) {
	var records []efs.Record
	err := x.view(ctx, func(s *snapshot) (err error) { records, err = s.scan(space, prefix, after, limit); return err })
	return records, err
}

func (s *snapshot) scan(space efs.Space, prefix, after []byte, limit int) (records []efs.Record, err error) {
	if err := checkKey(efs.Key{Space: space, Bytes: prefix}, true); err != nil {
		return nil, err
	}
	from := prefix
	if bytes.Compare(after, prefix) > 0 {
		from = after
	}
	c, k, v := s.seek(byte(space), from)
	if after != nil && bytes.Equal(k, after) {
		k, v = c.next()
	}
	for ; k != nil && bytes.HasPrefix(k, prefix) && len(records) < limit; k, v = c.next() {
		records = append(records, record(k, v))
	}
	own(records)
	ownKeys(records)
	return records, nil
}

// ownKeys does for keys what own does for values.
func ownKeys(records []efs.Record) {
	n := 0
	for i := range records {
		n += len(records[i].Key)
	}
	buf := make([]byte, 0, n)
	for i := range records {
		from := len(buf)
		buf = append(buf, records[i].Key...)
		records[i].Key = buf[from:len(buf):len(buf)]
	}
}

// Changes returns changes after since; see efs.Index.
func (x *Index) Changes(ctx context.Context, since uint64, limit int) ([]efs.SealedChange, error) {
	head, err := x.Head(ctx) // before the view: what the view shows is not older
	if err != nil {
		return nil, err
	}
	var changes []efs.SealedChange
	err = x.view(ctx, func(s *snapshot) error {
		_, first, _ := s.seek(bucketChanges, nil)
		switch {
		case since == math.MaxUint64:
			return nil
		case first == nil && since < head.Seq,
			first != nil && since+1 < binary.BigEndian.Uint64(first):
			return fmt.Errorf("changes since %d: %w", since, efs.ErrLogTruncated)
		}
		for c, k, v := s.seek(bucketChanges, seqKey(since+1)); k != nil && len(changes) < limit; k, v = c.next() {
			change, err := parseChange(k, v)
			if err != nil {
				return err
			}
			change.Sealed = slices.Clone(change.Sealed)
			changes = append(changes, change)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return changes, nil
}

// LogBounds returns the first and last sequence number in the log; see
// efs.Index.
func (x *Index) LogBounds(ctx context.Context) (first, last uint64, err error) {
	head, err := x.Head(ctx)
	if err != nil {
		return 0, 0, err
	}
	first, last = head.Seq+1, head.Seq
	err = x.view(ctx, func(s *snapshot) error {
		if _, k, _ := s.seek(bucketChanges, nil); k != nil {
			first = binary.BigEndian.Uint64(k)
			k, _ = s.last(bucketChanges, nil)
			last = binary.BigEndian.Uint64(k)
		}
		return nil
	})
	return first, last, err
}

// Releasable returns queued contents that no hold protects; see efs.Index.
func (x *Index) Releasable(ctx context.Context, limit int) ([]efs.Release, error) {
	var releases []efs.Release
	err := x.view(ctx, func(s *snapshot) error {
		held, bounded, err := lowestMark(s, efs.MarkHold)
		if err != nil {
			return err
		}
		for c, k, v := s.seek(bucketQueue, nil); k != nil && len(releases) < limit; k, v = c.next() {
			q, err := parseQueued(k, v)
			if err != nil {
				return err
			}
			if bounded && q.protected(held) {
				return nil // the queue is in order of time: so are all the rest
			}
			releases = append(releases, q.Release)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return releases, nil
}

// Queued returns queued contents, protected or not; see efs.Index.
func (x *Index) Queued(ctx context.Context, after efs.Release, limit int) ([]efs.Release, error) {
	var releases []efs.Release
	err := x.view(ctx, func(s *snapshot) (err error) { releases, err = s.queued(after, limit); return err })
	return releases, err
}

func (s *snapshot) queued(after efs.Release, limit int) (releases []efs.Release, err error) {
	from := queueKey(after)
	c, k, v := s.seek(bucketQueue, from)
	if bytes.Equal(k, from) {
		k, v = c.next()
	}
	for ; k != nil && len(releases) < limit; k, v = c.next() {
		q, err := parseQueued(k, v)
		if err != nil {
			return nil, err
		}
		releases = append(releases, q.Release)
	}
	return releases, nil
}

// Usage returns what an account has in use.
func (x *Index) Usage(ctx context.Context, account efs.ID) (efs.Usage, error) {
	var u efs.Usage
	err := x.view(ctx, func(s *snapshot) error {
		var err error
		u, err = parseUsage(s.get(bucketUsage, account[:]))
		return err
	})
	return u, err
}
