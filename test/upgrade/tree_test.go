package upgrade

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/test/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// large is what a file holds that does not lie in the index.
const large = 300 << 10

// crowd is more files than a directory has before its names are kept in order
// beside its entries (docs/index.md).
const crowd = 4200

// tree is what was stored, by whichever release.
type tree struct {
	files map[string][]byte
	links map[string]string
	modes map[string]uint32
	half  string // upload that is under way
}

func newTree() *tree {
	return &tree{files: map[string][]byte{}, links: map[string]string{}, modes: map[string]uint32{}}
}

// store stores a small and a large file in each place: beside others, in an
// erasure unit that is there already and in one that is new.
func (tr *tree) store(t *testing.T, c *client.Client, who string, seed uint64) {
	t.Helper()
	for i, dir := range []string{"/plain/", "/patients/1/", "/patients/" + who + "/"} {
		for j, size := range []int{0, 100, large} {
			path := fmt.Sprintf("%s%s-%d", dir, who, size)
			tr.put(t, c, path, kit.Pattern(seed+uint64(10*i+j), size), client.PutOptions{Type: "text/x-" + who, Meta: map[string]string{"by": who}})
		}
	}
}

func (tr *tree) put(t *testing.T, c *client.Client, path string, body []byte, o client.PutOptions) {
	t.Helper()
	if _, err := c.Put(t.Context(), path, bytes.NewReader(body), o); err != nil {
		t.Fatalf("storing %s: %v", path, err)
	}
	tr.files[path] = body
}

func (tr *tree) move(t *testing.T, c *client.Client, from, to string) {
	t.Helper()
	if err := c.Move(t.Context(), from, to, client.MoveOptions{}); err != nil {
		t.Fatal(err)
	}
	tr.files[to] = tr.files[from]
	delete(tr.files, from)
}

func (tr *tree) remove(t *testing.T, c *client.Client, path string) {
	t.Helper()
	if err := c.Remove(t.Context(), path, client.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	delete(tr.files, path)
}

// crowd stores files from first to last in one directory.
func (tr *tree) crowd(t *testing.T, c *client.Client, first, last int) {
	t.Helper()
	numbers := make(chan int)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for i := range numbers {
				if _, err := c.Put(t.Context(), fmt.Sprintf("/crowd/%05d", i), bytes.NewReader([]byte("one of many")), client.PutOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := first; i < last; i++ {
		numbers <- i
	}
	close(numbers)
	all.Wait()
}

// reads demands that all of it is there, byte for byte, and nothing else in
// the crowd, which has n files. A release that does not know symbolic links
// lists them, and gives no contents; it tells nothing of modes.
func (tr *tree) reads(t *testing.T, c *client.Client, n int, knowsAttributes bool) {
	t.Helper()
	ctx := t.Context()
	for path, want := range tr.files {
		if got, err := c.ReadFile(ctx, path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes of %d as stored: %v, %v", path, len(got), len(want), bytes.Equal(got, want), err)
		}
	}
	for path, target := range tr.links {
		if !knowsAttributes {
			if _, err := c.ReadFile(ctx, path); err == nil {
				t.Errorf("%s has contents", path)
			}
		} else if e, err := c.Stat(ctx, path); err != nil || e.Target != target {
			t.Errorf("%s points to %+v, %v; want %s", path, e, err, target)
		}
	}
	if knowsAttributes {
		for path, mode := range tr.modes {
			if e, err := c.Stat(ctx, path); err != nil || e.Mode != mode {
				t.Errorf("%s: %+v, %v; want mode %o", path, e, err, mode)
			}
		}
	}
	if names := list(ctx, t, c, "/crowd/"); len(names) != n {
		t.Errorf("%d names are listed, %d files are there", len(names), n)
	}
	listed := list(ctx, t, c, "/plain/")
	for path := range tr.links {
		if !listed[path] {
			t.Errorf("%s is not listed", path)
		}
	}
}

func list(ctx context.Context, t *testing.T, c *client.Client, dir string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for e, err := range c.List(ctx, dir, client.ListOptions{}) {
		switch {
		case errors.Is(err, client.ErrNotFound):
			return names
		case err != nil:
			t.Fatal(err)
		}
		names[e.Path] = true
	}
	return names
}
