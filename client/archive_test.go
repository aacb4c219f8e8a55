package client

import (
	"errors"
	"io"
	"testing"

	"github.com/efs-project/efs/internal/archive"
)

func TestAnArchiveHoldsWhatWasThere(t *testing.T) {
	c, _ := dial(t)
	mustPut(t, c, "/a/b", []byte("contents"))
	read := func(o ArchiveOptions) (names []string, seq uint64) {
		t.Helper()
		body, seq, err := c.Archive(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		r, err := archive.OpenTar(body)
		if err != nil {
			t.Fatal(err)
		}
		for {
			m, err := r.Next()
			if err == io.EOF {
				return names, seq
			}
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, m.Name)
		}
	}
	names, seq := read(ArchiveOptions{})
	if len(names) != 2 || names[1] != "a/b" || seq == 0 {
		t.Fatal(names, seq)
	}
	if names, again := read(ArchiveOptions{Path: "a", Since: seq}); len(names) != 0 || again != seq {
		t.Fatal(names, again)
	}
	if _, _, err := c.Archive(t.Context(), ArchiveOptions{Path: "/none"}); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	if _, _, err := c.Archive(t.Context(), ArchiveOptions{Since: seq + 1}); err == nil {
		t.Fatal("a change to come was taken")
	}
}
