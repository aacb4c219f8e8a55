package admin

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/efs-project/efs"
)

func newTestHandover(t *testing.T) (*handover, string) {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, ".server"), 0o700); err != nil {
		t.Fatal(err)
	}
	h, err := newHandover(root)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); h.serve() }()
	t.Cleanup(func() { h.close(); <-done })
	return h, root
}

func TestASecretIsHandedOverOnce(t *testing.T) {
	h, root := newTestHandover(t)
	for _, want := range []string{"x", "", string(bytes.Repeat([]byte{0, 0xff}, maxHandover/2))} {
		n, err := handOver(t.Context(), root, []byte(want))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := h.take(n); err != nil || string(got) != want {
			t.Errorf("%d bytes came as %d: %v", len(want), len(got), err)
		}
		if _, err := h.take(n); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("taken twice: %v", err)
		}
	}
	if _, err := handOver(t.Context(), root, make([]byte, maxHandover+1)); !errors.Is(err, efs.ErrBadInput) {
		t.Errorf("too long a secret: %v", err)
	}
	for _, n := range []string{"", "00", "zz", "00000000000000000000000000000000"} {
		if _, err := h.take(n); !errors.Is(err, efs.ErrBadInput) {
			t.Errorf("number %q: %v", n, err)
		}
	}
}

// Nobody fetches what somebody else handed to the server.
func TestWhatWasHandedOverIsNotFetched(t *testing.T) {
	h, root := newTestHandover(t)
	n, err := handOver(t.Context(), root, []byte("the starter key"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := fetch(t.Context(), root, n); err == nil {
		t.Errorf("fetched %q", b)
	}
	if _, err := h.take(n); !errors.Is(err, efs.ErrBadInput) {
		t.Errorf("it is still held: %v", err)
	}
}

func TestSocketsAreForTheServersUserAlone(t *testing.T) {
	h, _ := newTestHandover(t)
	info, err := os.Stat(h.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
