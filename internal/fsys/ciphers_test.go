package fsys

import (
	"bytes"
	"io"
	"testing"

	"github.com/efs-project/efs"
)

// TestAlgorithmsAreCountedByWhatTheyDid: under the policy of the day a content
// was sealed, whatever the policy is when it is read.
func TestAlgorithmsAreCountedByWhatTheyDid(t *testing.T) {
	e := newEnv(t)
	small, large := []byte("some text"), bytes.Repeat([]byte("0123456789"), 10_000)
	e.put("small", small)
	e.put("large", large)
	p := e.Policy()
	p.Stages = []efs.StagePolicy{{Algorithm: efs.ChaCha20Poly1305, Provider: p.Stages[0].Provider, KeyID: p.Stages[0].KeyID}}
	_, err := e.SetPolicy(t.Context(), Who{}, p)
	e.check(err)
	e.put("another", small)
	for _, path := range []string{"small", "large", "another"} {
		f, err := e.Open(t.Context(), path)
		e.check(err)
		e.check(f.WriteRange(io.Discard, 0, -1))
		e.check(f.Close())
	}
	got, err := e.Ciphers(t.Context())
	e.check(err)
	both := uint64(len(small) + len(large))
	want := []CipherUse{
		{Algorithm: efs.AES256, Seals: 2, SealedBytes: both, Opens: 2, OpenedBytes: both},
		{Algorithm: efs.ChaCha20Poly1305, Seals: 1, SealedBytes: uint64(len(small)), Opens: 1, OpenedBytes: uint64(len(small))},
	}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// TestWhatWaitsToBeDeletedIsCounted: a content that is being read stays in the
// queue, and is counted as deleted when it is.
func TestWhatWaitsToBeDeletedIsCounted(t *testing.T) {
	e := newEnv(t)
	e.put("file", bytes.Repeat([]byte("x"), 100_000))
	f, err := e.Open(t.Context(), "file")
	e.check(err)
	e.put("file", []byte("another"))
	expect := func(waiting int, removed uint64) {
		t.Helper()
		w, r, err := e.Releases(t.Context(), 10)
		e.check(err)
		if w != waiting || r != removed {
			t.Errorf("%d wait and %d were deleted, not %d and %d", w, r, waiting, removed)
		}
	}
	expect(1, 0)
	e.check(f.Close())
	e.put("file", []byte("a third"))
	e.idle()
	expect(0, 2)
}
