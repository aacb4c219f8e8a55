package dir

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/efs-project/efs"
)

func TestBulkCopiesOrLinks(t *testing.T) {
	for _, link := range []bool{false, true} {
		t.Run(fmt.Sprint("link=", link), func(t *testing.T) {
			from, _ := newStore(t, Options{})
			to, root := newStore(t, Options{})
			var ids []efs.ID
			b := to.Bulk(link)
			for i := range bulkBlobs + 10 {
				id := efs.NewID()
				ids = append(ids, id)
				write(t, from, id, fmt.Sprint("content ", i))
				add(t, b, from, id)
			}
			if _, err := to.Size(ids[len(ids)-1]); !errors.Is(err, efs.ErrNotFound) {
				t.Errorf("before it is synced, the last one has a name: %v", err)
			}
			if err := b.Flush(); err != nil {
				t.Fatal(err)
			}
			for i, id := range ids {
				if got, err := read(t, to, id); err != nil || got != fmt.Sprint("content ", i) {
					t.Fatalf("blob %d: %q, %v", i, got, err)
				}
			}
			if n, err := to.Size(ids[0]); err != nil || n != int64(len("content 0")) {
				t.Errorf("length %d, %v", n, err)
			}
			if all := names(t, root); strings.Contains(all, tempSuffix) {
				t.Errorf("left behind: %s", all)
			}
			if err := from.Remove(t.Context(), ids[0]); err != nil {
				t.Fatal(err)
			}
			if _, err := read(t, to, ids[0]); err != nil {
				t.Errorf("after its origin was removed: %v", err)
			}
		})
	}
}

func add(t *testing.T, b *Bulk, from *Store, id efs.ID) {
	t.Helper()
	blob, err := from.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer blob.Close()
	if err := b.Add(t.Context(), id, blob); err != nil {
		t.Fatal(err)
	}
}

// A blob of the wrong length, as a crash of the volume may leave, is replaced.
func TestBulkReplaces(t *testing.T) {
	from, _ := newStore(t, Options{})
	to, _ := newStore(t, Options{})
	id := efs.NewID()
	write(t, from, id, "whole")
	write(t, to, id, "who")
	if err := to.Settle(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b := to.Bulk(false)
	add(t, b, from, id)
	if err := b.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, to, id); err != nil || got != "whole" {
		t.Errorf("%q, %v", got, err)
	}
}

// Whatever step fails, nothing has a name that is not whole, and what was begun
// is removed by Abort or by the next Open.
func TestBulkFails(t *testing.T) {
	from, _ := newStore(t, Options{})
	var ids []efs.ID
	for range 3 {
		ids = append(ids, efs.NewID())
		write(t, from, ids[len(ids)-1], "content")
	}
	for _, step := range []string{"create", "write", "sync", "rename", "mkdir"} {
		t.Run(step, func(t *testing.T) {
			broken := errors.New("broken")
			failing := false
			to, root := newStore(t, Options{Fault: func(s string) error {
				if failing && s == step {
					return broken
				}
				return nil
			}})
			failing = true
			b := to.Bulk(false)
			var err error
			for _, id := range ids {
				blob, oerr := from.Open(t.Context(), id)
				if oerr != nil {
					t.Fatal(oerr)
				}
				if err == nil {
					err = b.Add(t.Context(), id, blob)
				}
				blob.Close()
			}
			if err == nil {
				err = b.Flush()
			}
			if !errors.Is(err, broken) {
				t.Fatalf("no error but %v", err)
			}
			b.Abort()
			failing = false
			for _, id := range ids {
				if got, err := read(t, to, id); !errors.Is(err, efs.ErrNotFound) && got != "content" {
					t.Errorf("%q, %v", got, err)
				}
			}
			if all := names(t, root); strings.Contains(all, tempSuffix) {
				t.Errorf("left behind: %s", all)
			}
		})
	}
}
