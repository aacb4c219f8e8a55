package fsys

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/efs-project/efs"
)

// listed pages through a directory and returns the sort keys of all entries.
func (e *env) listed(dir string, o ListOptions) (keys []string) {
	e.t.Helper()
	for {
		entries, next, err := e.List(ctx, dir, o)
		e.check(err)
		if o.Limit > 0 && len(entries) > o.Limit {
			e.t.Fatalf("a page of %d entries, limit %d", len(entries), o.Limit)
		}
		for i := range entries {
			if !strings.HasSuffix("/"+entries[i].Path, "/"+entries[i].Name) {
				e.t.Errorf("entry %q with path %q", entries[i].Name, entries[i].Path)
			}
			keys = append(keys, sortKey(entries[i].Path, entries[i].Kind))
		}
		if next == "" {
			return keys
		}
		if len(entries) == 0 || next != keys[len(keys)-1] {
			e.t.Fatalf("next is %q after %q", next, keys)
		}
		o.After = next
	}
}

func TestListingOrderAndPages(t *testing.T) {
	for what, adjust := range map[string]func(*env){"by entries": func(*env) {}, "by names": tinyNames} {
		t.Run(what, func(t *testing.T) { listingOrderAndPages(t, newEnv(t, adjust)) })
	}
}

func listingOrderAndPages(t *testing.T, e *env) {
	files := []string{
		"a", "b/x", "b.txt", "b0", "b/y/1", "b/y/2", "b/y.txt", "b/y0", "b/z", "c/", "d/e/f/g", "é", "Z", "~", "b-",
	}
	var flat, all []string
	for _, f := range files {
		if dir, ok := strings.CutSuffix(f, "/"); ok {
			_, err := e.Mkdir(ctx, dir, MkdirOptions{})
			e.check(err)
			all = append(all, f)
		} else {
			e.put(f, []byte(f))
			all = append(all, f)
			for i := range f {
				if f[i] == '/' {
					all = append(all, f[:i+1])
				}
			}
		}
	}
	e.namesIdle()
	slices.Sort(all)
	all = slices.Compact(all)
	for _, k := range all {
		if i := strings.IndexByte(k, '/'); i < 0 || i == len(k)-1 {
			flat = append(flat, k)
		}
	}
	for limit := range len(all) + 2 {
		if got := e.listed("/", ListOptions{Limit: limit}); !slices.Equal(got, flat) {
			t.Errorf("limit %d: %q, want %q", limit, got, flat)
		}
		if got := e.listed("", ListOptions{Limit: limit, Recursive: true}); !slices.Equal(got, all) {
			t.Errorf("limit %d, recursive: %q, want %q", limit, got, all)
		}
	}
	for _, after := range append(all, "b", "b/yy", "c/x", "zzz", "b/y/") {
		want := slices.DeleteFunc(slices.Clone(all), func(k string) bool { return k <= after })
		if got := e.listed("/", ListOptions{After: after, Recursive: true}); !slices.Equal(got, want) {
			t.Errorf("recursive after %q: %q, want %q", after, got, want)
		}
		want = slices.DeleteFunc(slices.Clone(flat), func(k string) bool { return k <= after })
		if got := e.listed("/", ListOptions{After: after}); !slices.Equal(got, want) {
			t.Errorf("after %q: %q, want %q", after, got, want)
		}
	}
	if got := e.listed("b/y", ListOptions{}); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("b/y holds %q", got)
	}
	_, _, err := e.List(ctx, "a", ListOptions{})
	e.refused("listing a file", err, efs.ErrNotDir)
	_, _, err = e.List(ctx, "none", ListOptions{})
	e.refused("listing nothing", err, efs.ErrNotFound)
	_, _, err = e.List(ctx, "", ListOptions{Limit: MaxListLimit + 1})
	e.refused("too many", err, efs.ErrBadInput)
}

func TestListingALargeDirectory(t *testing.T) {
	e := newEnv(t)
	const n = 2500 // more than two reads of the engine
	want := make([]string, n)
	for i := range n {
		want[i] = fmt.Sprintf("dir-%05d/", i)
		_, err := e.Mkdir(ctx, "big/"+want[i], MkdirOptions{Parents: true})
		e.check(err)
	}
	for _, limit := range []int{0, 7, 999, 2500, 3000} {
		if limit == 7 {
			got, _, err := e.List(ctx, "big", ListOptions{Limit: limit, After: want[1000]})
			if err != nil || len(got) != 7 || got[0].Path+"/" != want[1001] {
				t.Errorf("page of 7: %d entries, %v", len(got), err)
			}
			continue
		}
		if got := e.listed("big", ListOptions{Limit: limit}); !slices.Equal(got, want) {
			t.Errorf("limit %d: %d entries", limit, len(got))
		}
	}
}
