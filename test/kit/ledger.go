package kit

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/efs-project/efs/client"
)

// State is what a path may hold: a version, or nothing (0).
type State uint64

// Ledger remembers for every path what the server confirmed last and what
// was asked of it since without an answer. The zero Ledger is empty.
type Ledger struct {
	mu    sync.Mutex
	paths map[string]*account
}

type account struct {
	confirmed State
	pending   []State // asked for since, and not confirmed
}

// Paths returns every path that was ever asked for.
func (l *Ledger) Paths() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.paths))
}

// Ask notes that path is about to become s.
func (l *Ledger) Ask(path string, s State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.paths[path]
	if a == nil {
		if l.paths == nil {
			l.paths = map[string]*account{}
		}
		a = &account{}
		l.paths[path] = a
	}
	a.pending = append(a.pending, s)
}

// Confirm notes that the server confirmed what was asked last.
func (l *Ledger) Confirm(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.paths[path]
	a.confirmed, a.pending = a.pending[len(a.pending)-1], nil
}

// Settle notes what was found after a crash, if it is what was confirmed last
// or what was under way; from here on that is the truth.
func (l *Ledger) Settle(path string, found State) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.paths[path]
	if found != a.confirmed && !slices.Contains(a.pending, found) {
		return fmt.Errorf("%s holds version %d; confirmed was version %d, under way were %v", path, found, a.confirmed, a.pending)
	}
	a.confirmed, a.pending = found, nil
	return nil
}

// Body is the content of a version: its number, then bytes that follow from
// path and number, so that a mixture of two versions cannot pass.
func Body(path string, s State) []byte {
	sizes := []int{16, 900, 4 << 10, 15 << 10, 40 << 10, 200 << 10, 900 << 10}
	seed := uint64(s)
	for _, c := range path {
		seed = seed*131 + uint64(c)
	}
	b := Pattern(seed, sizes[seed%uint64(len(sizes))])
	binary.BigEndian.PutUint64(b, uint64(s))
	return b
}

// Identify tells which version b is, whole.
func Identify(path string, b []byte) (State, error) {
	if len(b) < 8 {
		return 0, fmt.Errorf("%s: %d bytes", path, len(b))
	}
	s := State(binary.BigEndian.Uint64(b))
	if want := Body(path, s); !bytes.Equal(b, want) {
		return 0, fmt.Errorf("%s: says it is version %d but differs from it (%d bytes, want %d)", path, s, len(b), len(want))
	}
	return s, nil
}

// Check reads path whole and settles it.
func (l *Ledger) Check(ctx context.Context, c *client.Client, path string) error {
	found, err := look(ctx, c, path)
	if err != nil {
		return err
	}
	return l.Settle(path, found)
}

func look(ctx context.Context, c *client.Client, path string) (State, error) {
	r, err := c.Get(ctx, path)
	if errors.Is(err, client.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", path, err)
	}
	return Identify(path, b)
}
