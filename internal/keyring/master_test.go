package keyring

import (
	"context"
	"slices"
	"testing"

	"github.com/efs-project/efs"
)

// A master key concerns the file systems whose keys it wraps, and no others.
func TestConcerned(t *testing.T) {
	b := newBench(t, Options{})
	x, y := b.create(t, "fx", oneStage), b.create(t, "fy", twoStages)
	sorted := func(ids ...efs.ID) []efs.ID {
		slices.SortFunc(ids, func(a, b efs.ID) int { return slices.Compare(a[:], b[:]) })
		return ids
	}
	for _, tt := range []struct {
		provider, key string
		want          []efs.ID
	}{
		{"one", "default", sorted(x.FS(), y.FS())},
		{"two", "default", sorted(y.FS())},
		{"two", "other", nil},
		{"three", "default", nil},
	} {
		if got := sorted(b.Concerned(tt.provider, tt.key)...); !slices.Equal(got, tt.want) {
			t.Errorf("%s:%s concerns %v, want %v", tt.provider, tt.key, got, tt.want)
		}
	}
	if err := b.Drop(t.Context(), y.FS()); err != nil {
		t.Fatal(err)
	}
	if got := b.Concerned("two", "default"); len(got) != 0 {
		t.Errorf("after its file system is gone a key concerns %v", got)
	}
}

// What EFS itself does to a master key holds for the very next use of what it
// wraps, in both directions.
func TestInvalidate(t *testing.T) {
	b := newBench(t, Options{KeyTTL: ttl})
	k := b.create(t, "user-data", twoStages)
	files := wrapAll(t, k)
	b.one.answer(efs.ErrRefused)
	if err := files.open(k); err != nil {
		t.Fatalf("an unwrapped key: %v", err)
	}
	b.Invalidate("two", "default")
	b.Invalidate("one", "other")
	if err := files.open(k); err != nil {
		t.Errorf("after another master key changed: %v", err)
	}
	b.Invalidate("one", "default")
	wantError(t, "after the master key was disabled", files.open(k), efs.ErrRefused)
	wantError(t, "Live after the master key was disabled", k.Live(), efs.ErrRefused)
	b.one.answer(nil)
	b.Invalidate("one", "default") // the clock stands: without it the refusal would stand too
	if err := files.open(k); err != nil {
		t.Errorf("after the master key was enabled again: %v", err)
	}
}

// An answer that was under way when the key was invalidated says what held
// before, and is not taken.
func TestInvalidateOvertakesAnAnswer(t *testing.T) {
	b := newBench(t, Options{KeyTTL: ttl})
	k := b.create(t, "user-data", oneStage)
	l := k.set().newest().keys[0]
	b.Invalidate("one", "default")
	ask, asked := l.unwrap, 0
	l.unwrap = func(ctx context.Context, r *keyRecord) ([]byte, error) {
		key, err := ask(ctx, r)
		if asked++; asked == 1 {
			b.one.answer(efs.ErrRefused)
			b.Invalidate("one", "default")
		}
		return key, err
	}
	wantError(t, "a key whose master key was disabled while it was unwrapped", l.alive(t.Context()), efs.ErrRefused)
	if asked != 2 || l.unwrapped() {
		t.Errorf("asked %d times, unwrapped %t", asked, l.unwrapped())
	}
}
