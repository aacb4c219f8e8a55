package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/efs-project/efs"
	"github.com/efs-project/efs/internal/secret"
)

// ErrKeyTaken is the error of asking for the first key after TakeKey.
var ErrKeyTaken = fmt.Errorf("the first key of the audit log was taken out of the server: %w", efs.ErrNotFound)

// Checkpoint signs a head behind all events so far and keeps it everywhere.
func (l *Log) Checkpoint(ctx context.Context) error {
	_, err := l.SignHead(ctx)
	return err
}

// SignHead is Checkpoint that returns the head's line, without its end.
func (l *Log) SignHead(ctx context.Context) ([]byte, error) {
	if l == nil {
		return nil, errOff
	}
	l.mu.Lock()
	l.headWanted = true
	l.mu.Unlock()
	if err := l.Sync(ctx); err != nil {
		return nil, err
	}
	l.mu.Lock()
	head := l.lastHead
	l.mu.Unlock()
	if head == nil {
		return nil, fmt.Errorf("the head of an audit log without lines: %w", efs.ErrNotFound)
	}
	l.handOn(true)
	return bytes.TrimRight(head, "\n"), nil
}

var errOff = fmt.Errorf("the audit log is switched off (audit.enabled): %w", efs.ErrNotFound)

// BoxCheck is a Check of the log in dir with the keys in box. The first key is
// nil if it was taken.
func BoxCheck(box Box, dir string) (Check, error) {
	seed, err := box.Get(secretSign)
	if errors.Is(err, efs.ErrNotFound) {
		return Check{}, fmt.Errorf("this server has no audit log: %w", efs.ErrNotFound)
	}
	if err != nil {
		return Check{}, fmt.Errorf("the key that signs the audit log: %w", err)
	}
	key, err := secret.NewKey(seed)
	if err != nil {
		return Check{}, err
	}
	defer key.Destroy()
	c := Check{Dir: dir, Root: box.RootID()}
	if c.Public, err = public(key); err != nil {
		return Check{}, err
	}
	c.First, err = firstKey(box)
	return c, err
}

// Verify verifies the log up to what is written now, also against the heads
// that were kept elsewhere and those given. first is the key of line 1 where
// it was taken; it is wiped.
func (l *Log) Verify(ctx context.Context, first []byte, heads [][]byte) (*Report, error) {
	if l == nil {
		return nil, errOff
	}
	if err := l.Sync(ctx); err != nil {
		l.o.Logger.Warn("verifying an audit log that cannot be written", "err", err)
	}
	l.files.RLock()
	defer l.files.RUnlock()
	c, err := BoxCheck(l.box, l.o.Dir)
	if err != nil {
		return nil, err
	}
	if first != nil {
		c.First = first
	}
	c.Heads = heads
	known, foreign := l.knownHeads(c.Public)
	for _, h := range append(known, foreign...) {
		c.Heads = append(c.Heads, h.raw)
	}
	path, size := l.end()
	c.size = func(p string) int64 {
		if p == path {
			return size
		}
		return 1 << 62
	}
	return Verify(c)
}

// end returns the file being written, and how much of it is durable.
func (l *Log) end() (path string, size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.endPath, l.endSize
}

// TakeKey returns the key of line 1 and removes it from the server: from then
// on not even who has the server's starter key can make lines of the past,
// and nobody can check MACs without what was returned. show gets the key
// before it is removed. ErrKeyTaken.
func (l *Log) TakeKey(ctx context.Context, show func(key []byte) error) error {
	if l == nil {
		return errOff
	}
	key, err := firstKey(l.box)
	if err != nil {
		return err
	}
	if key == nil {
		return ErrKeyTaken
	}
	defer secret.Wipe(key)
	if err := l.Checkpoint(ctx); err != nil { // without the first key, nothing but the state leads on
		return err
	}
	if _, err := l.box.Get(secretState); err != nil {
		return fmt.Errorf("the state of the audit log must be kept before its first key is taken: %w", err)
	}
	if err := show(key); err != nil {
		return err
	}
	if err := l.box.Replace(secretFirst, []byte(taken)); err != nil {
		return fmt.Errorf("removing the first key of the audit log: %w", err)
	}
	return nil
}

// Query says which lines to read. Zero fields let all through.
type Query struct {
	Since, Until      time.Time
	User, FS, Op, Out string
	Object            efs.ID
	From              uint64 // first line
}

func (q *Query) takes(l *Line) bool {
	return (q.Since.IsZero() || !l.Time.Before(q.Since)) && (q.Until.IsZero() || l.Time.Before(q.Until)) &&
		(q.User == "" || q.User == l.User) && (q.FS == "" || q.FS == l.FS) && (q.Op == "" || q.Op == l.Op) &&
		(q.Out == "" || q.Out == l.Outcome) && (q.Object.IsZero() || q.Object == l.Object) && l.Seq >= q.From
}

// Read calls fn for the lines that q asks for, oldest first, up to what is
// durable now. It does not verify them.
func (l *Log) Read(ctx context.Context, q Query, fn func(*Line) error) error {
	if l == nil {
		return errOff
	}
	_ = l.Sync(ctx) // what cannot be written cannot be read either
	l.files.RLock()
	defer l.files.RUnlock()
	all, err := segments(l.o.Dir)
	if err != nil {
		return err
	}
	path, size := l.end()
	for i, s := range all {
		if i+1 < len(all) && all[i+1].first <= q.From {
			continue
		}
		limit := int64(1 << 62)
		if s.path == path {
			limit = size
		}
		if err := readSegment(ctx, s.path, limit, q, fn); err != nil {
			return err
		}
	}
	return nil
}

func readSegment(ctx context.Context, path string, limit int64, q Query, fn func(*Line) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening the audit log: %w", err)
	}
	defer f.Close()
	err = lines(io.LimitReader(f, limit), 0, 1, func(l *Line, _ int64) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if q.takes(l) {
			return fn(l)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
