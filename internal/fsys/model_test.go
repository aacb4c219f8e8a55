package fsys

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/efs-project/efs"
	"pgregory.net/rapid"
)

// tree is the model: files by path, directories by path with a slash.
type tree map[string][]byte

func (m tree) isDir(p string) bool { _, ok := m[p+"/"]; return ok || p == "" }

func (m tree) isFile(p string) bool { _, ok := m[p]; return ok && p != "" }

// blocked reports whether a file stands above p.
func (m tree) blocked(p string) bool {
	for i := range p {
		if p[i] == '/' && m.isFile(p[:i]) {
			return true
		}
	}
	return false
}

func (m tree) parents(p string) {
	for i := range p {
		if p[i] == '/' {
			m[p[:i+1]] = nil
		}
	}
}

func (m tree) below(p string) (keys []string) {
	for k := range m {
		if strings.HasPrefix(k, p+"/") && k != p+"/" {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

func (m tree) put(p string, b []byte) error {
	switch {
	case m.blocked(p):
		return efs.ErrNotDir
	case m.isDir(p):
		return efs.ErrIsDir
	}
	m.parents(p)
	m[p] = b
	return nil
}

func (m tree) mkdir(p string) error {
	switch {
	case m.blocked(p):
		return efs.ErrNotDir
	case m.isDir(p), m.isFile(p):
		return efs.ErrExists
	}
	m.parents(p + "/")
	return nil
}

func (m tree) remove(p string, recursive bool) error {
	switch {
	case m.blocked(p):
		return efs.ErrNotDir
	case m.isFile(p):
		delete(m, p)
		return nil
	case !m.isDir(p):
		return efs.ErrNotFound
	case !recursive && len(m.below(p)) > 0:
		return efs.ErrNotEmpty
	}
	for _, k := range m.below(p) {
		delete(m, k)
	}
	delete(m, p+"/")
	return nil
}

func (m tree) move(from, to string, overwrite bool) error {
	switch {
	case from == to:
		return efs.ErrBadInput
	case m.blocked(from):
		return efs.ErrNotDir
	case !m.isFile(from) && !m.isDir(from):
		return efs.ErrNotFound
	case m.blocked(to):
		return efs.ErrNotDir
	case m.isDir(from) && strings.HasPrefix(to, from+"/"):
		return efs.ErrBadInput
	case (m.isDir(to) || m.isFile(to)) && !overwrite:
		return efs.ErrExists
	case m.isDir(to) && m.isFile(from):
		return efs.ErrIsDir
	case m.isFile(to) && m.isDir(from):
		return efs.ErrNotDir
	case m.isDir(to) && len(m.below(to)) > 0:
		return efs.ErrNotEmpty
	}
	m.parents(to)
	if m.isFile(from) {
		m[to] = m[from]
		delete(m, from)
		return nil
	}
	for _, k := range m.below(from) {
		m[to+strings.TrimPrefix(k, from)] = m[k]
		delete(m, k)
	}
	delete(m, from+"/")
	m[to+"/"] = nil
	return nil
}

// Random operations do what they do to a plain tree, over restarts.
func TestFileSystemIsATree(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		e := newEnv(t, rapid.SampledFrom([]func(*env){func(*env) {}, tinyNames}).Draw(r, "names"))
		defer e.close()
		m := tree{}
		segment := rapid.SampledFrom([]string{"a", "b", "c", "a.b", "é"})
		path := rapid.Custom(func(r *rapid.T) string {
			return strings.Join(rapid.SliceOfN(segment, 1, 4).Draw(r, "segments"), "/")
		})
		agree := func(what string, err, want error) {
			if !errors.Is(err, want) || want == nil && err != nil {
				r.Fatalf("%s: %v, the model says %v", what, err, want)
			}
		}
		r.Repeat(map[string]func(*rapid.T){
			"put": func(r *rapid.T) {
				p := path.Draw(r, "path")
				b := data(rapid.Uint64().Draw(r, "seed"), rapid.SampledFrom([]int{0, 100, 6000}).Draw(r, "size"))
				_, err := e.Put(ctx, p, bytes.NewReader(b), PutOptions{Size: -1})
				agree("put "+p, err, m.put(p, b))
			},
			"mkdir": func(r *rapid.T) {
				p := path.Draw(r, "path")
				_, err := e.Mkdir(ctx, p, MkdirOptions{Parents: true})
				agree("mkdir "+p, err, m.mkdir(p))
			},
			"remove": func(r *rapid.T) {
				p, rec := path.Draw(r, "path"), rapid.Bool().Draw(r, "recursive")
				agree("remove "+p, e.Remove(ctx, p, RemoveOptions{Recursive: rec}), m.remove(p, rec))
			},
			"move": func(r *rapid.T) {
				from, to, over := path.Draw(r, "from"), path.Draw(r, "to"), rapid.Bool().Draw(r, "overwrite")
				_, err := e.Move(ctx, from, to, MoveOptions{Overwrite: over})
				agree("move "+from+" to "+to, err, m.move(from, to, over))
			},
			"reopen": func(*rapid.T) { e.reopen() },
			"sort":   func(*rapid.T) { e.namesIdle() },
			"": func(r *rapid.T) {
				all := allKeys(m)
				if got := e.listed("/", ListOptions{Recursive: true, Limit: 3}); !slices.Equal(got, all) {
					r.Fatalf("tree %q, the model says %q", got, all)
				}
				for k, b := range m {
					if !strings.HasSuffix(k, "/") {
						if got, err := e.read(k); err != nil || !bytes.Equal(got, b) {
							r.Fatalf("%s holds %d bytes, %v", k, len(got), err)
						}
					}
				}
			},
		})
		e.idle()
		e.clean()
	})
}

func allKeys(m tree) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
