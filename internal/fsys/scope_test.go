package fsys

import (
	"slices"
	"strings"
	"testing"
)

// granted is a scope in which everything below some paths may be listed.
type granted []string

func (g granted) Names(dir string) (names []string, all bool) {
	for _, path := range g {
		if path == dir || strings.HasPrefix(dir, path+"/") {
			return nil, true
		}
		if rest, below := strings.CutPrefix("/"+path, strings.TrimSuffix("/"+dir, "/")+"/"); below {
			name, _, _ := strings.Cut(rest, "/")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), false
}

func (g granted) Visible(path string, dir bool) bool {
	for _, p := range g {
		if p == path || strings.HasPrefix(path, p+"/") || dir && strings.HasPrefix(p, path+"/") {
			return true
		}
	}
	return false
}

// A listing in a scope is the whole listing without what may not be seen, on
// pages of every size, from every place.
func TestListingInAScope(t *testing.T) {
	for what, adjust := range map[string]func(*env){
		"by entries": func(*env) {}, "by names": tinyNames, "in units": func(e *env) { e.policy.ErasureUnit = "/p/*" },
	} {
		t.Run(what, func(t *testing.T) { listingInAScope(t, newEnv(t, adjust)) })
	}
}

func listingInAScope(t *testing.T, e *env) {
	for _, f := range []string{
		"p/1/a", "p/1/b/c", "p/1.txt", "p/10/x", "p/2/a", "p/2/b/deep/f", "p/20/x", "p2/secret", "p-/secret", "q", "q.d/r", "z/z",
		"file", "more/1", "more/2", "more/3", "more/4", "more/5", "more/6",
	} {
		e.put(f, []byte(f))
	}
	e.namesIdle()
	everything := e.listed("", ListOptions{Recursive: true})
	for _, scope := range []granted{
		{"p/1"}, {"p/1", "p/2/b"}, {"p/2/b/deep", "q", "nothing/there"}, {"p"}, {"file/is/no/directory", "z"}, {"p/1.txt"}, {},
	} {
		var want, top []string
		for _, k := range everything {
			if path, dir := strings.CutSuffix(k, "/"); scope.Visible(path, dir) {
				want = append(want, k)
				if !strings.Contains(path, "/") {
					top = append(top, k)
				}
			}
		}
		for limit := range len(want) + 2 {
			if got := e.listed("", ListOptions{Limit: limit, Recursive: true, Scope: scope}); !slices.Equal(got, want) {
				t.Errorf("%q, limit %d: %q, want %q", scope, limit, got, want)
			}
			if got := e.listed("/", ListOptions{Limit: limit, Scope: scope}); !slices.Equal(got, top) {
				t.Errorf("%q, limit %d, flat: %q, want %q", scope, limit, got, top)
			}
		}
		for _, after := range append(slices.Clone(everything), "p/2/b/d", "p/", "p/3", "zzz") {
			rest := slices.DeleteFunc(slices.Clone(want), func(k string) bool { return k <= after })
			if got := e.listed("", ListOptions{Recursive: true, After: after, Scope: scope}); !slices.Equal(got, rest) {
				t.Errorf("%q, after %q: %q, want %q", scope, after, got, rest)
			}
		}
		var below []string // the same by a directory on the way
		for _, k := range want {
			if rest, ok := strings.CutPrefix(k, "p/"); ok && rest != "" {
				below = append(below, rest)
			}
		}
		if got := e.listed("/p/", ListOptions{Recursive: true, Limit: 1, Scope: scope}); !slices.Equal(got, below) {
			t.Errorf("%q, of p/: %q, want %q", scope, got, below)
		}
	}
}
