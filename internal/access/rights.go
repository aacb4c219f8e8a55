package access

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/efs-project/efs"
)

// Rights is what one principal may do in one file system, or with master keys.
// It is never changed once made. The methods are those of the zero Rights for
// a nil one: nothing.
//
// Grants only ever add. A grant on a path covers what is at the path and all
// below it, segment by segment: /patients and /patients/ cover patients and
// patients/173, never patients2. So what is permitted on a directory is
// permitted on everything in it, and no tree has to be walked to know.
type Rights struct {
	all   bool // everything on paths, on all of them
	fs    Permissions
	paths []string               // on which there are grants, without slashes around them, in order
	on    map[string]Permissions // by path
	keys  map[string]Permissions // by provider/key
}

// everything is what users have in their own file system by default.
var everything = &Rights{all: true, paths: []string{""}, on: map[string]Permissions{"": Writer}}

// nothing is what everybody else has.
var nothing = &Rights{}

// canonical returns a path without slashes around it; efs.ErrBadInput.
func canonical(path string) (string, error) {
	p := strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	if p == "" {
		if len(path) > 1 {
			return "", fmt.Errorf("path %q has an empty segment: %w", path, efs.ErrBadInput)
		}
		return "", nil
	}
	if !utf8.ValidString(p) || strings.IndexByte(p, 0) >= 0 {
		return "", fmt.Errorf("path %q is not UTF-8, or has a NUL: %w", path, efs.ErrBadInput)
	}
	for segment := range strings.SplitSeq(p, "/") {
		if segment == "" || segment == "." || segment == ".." || len(segment) > efs.MaxSegment {
			return "", fmt.Errorf("path %q has a segment that no name can be: %w", path, efs.ErrBadInput)
		}
	}
	return p, nil
}

// newRights puts together what grants come to.
func newRights(grants []Grant) *Rights {
	r := &Rights{on: map[string]Permissions{}}
	for _, g := range grants {
		if key, ok := strings.CutPrefix(g.On, keyPrefix); ok {
			if r.keys == nil {
				r.keys = map[string]Permissions{}
			}
			r.keys[key] |= g.Permissions & onKeys
			continue
		}
		path, err := canonical(g.On)
		if err != nil {
			continue // was refused when it was granted
		}
		if p := g.Permissions & onPaths; p != 0 {
			r.on[path] |= p
		}
		if path == "" {
			r.fs |= g.Permissions & onFS
		}
	}
	r.paths = slices.Sorted(maps.Keys(r.on))
	r.all = r.on[""] == Writer
	return r
}

// All reports whether everything on every path is permitted.
func (r *Rights) All() bool { return r != nil && r.all }

// None reports whether nothing at all is permitted.
func (r *Rights) None() bool { return r == nil || len(r.paths) == 0 && r.fs == 0 && len(r.keys) == 0 }

// May reports whether all of p is permitted on path (no slashes around it, ""
// for the root), and with it on all below.
func (r *Rights) May(p Permissions, path string) bool {
	return r != nil && (r.all && p&^onPaths == 0 || r.at(path)&p == p)
}

// at is everything that is permitted on path.
func (r *Rights) at(path string) Permissions {
	p := r.fs
	if r.all {
		return p | onPaths
	}
	p |= r.on[""]
	for i := range len(path) {
		if path[i] == '/' {
			p |= r.on[path[:i]]
		}
	}
	return p | r.on[path]
}

// Reaches reports whether anything is permitted on path or somewhere below
// it: whether the caller may know that there is such a path.
func (r *Rights) Reaches(path string) bool {
	return r != nil && (r.at(path)&onPaths != 0 || r.leadsTo(path))
}

// leadsTo reports whether something below path, or path itself, was granted.
func (r *Rights) leadsTo(path string) bool {
	if path == "" {
		return len(r.paths) > 0
	}
	if r.granted(path) {
		return true
	}
	i, _ := slices.BinarySearch(r.paths, path+"/")
	return i < len(r.paths) && strings.HasPrefix(r.paths[i], path+"/")
}

// OnTheWay reports whether path is a directory that leads to what was granted
// and nothing is permitted on the directory itself.
func (r *Rights) OnTheWay(path string) bool {
	return r != nil && r.at(path)&onPaths == 0 && r.leadsTo(path)
}

// Visible reports whether what is at path may be shown by name: where List is
// permitted; what a grant is on itself; and directories on the way there.
func (r *Rights) Visible(path string, dir bool) bool {
	if r == nil {
		return false
	}
	if r.all || r.at(path)&List != 0 || r.granted(path) {
		return true
	}
	return dir && r.leadsTo(path)
}

// granted reports whether there is a grant on exactly this path.
func (r *Rights) granted(path string) bool {
	_, ok := r.on[path]
	return ok
}

// Names returns the names in a directory that may be there and shown, in
// order, each once: those that lead to what was granted. all means that every
// name may be shown, here and below. What it returns depends on the grants
// alone, so that looking takes as long whatever else the directory holds.
func (r *Rights) Names(dir string) (names []string, all bool) {
	if r == nil {
		return nil, false
	}
	if r.all || r.at(dir)&List != 0 {
		return nil, true
	}
	prefix := ""
	if dir != "" {
		prefix = dir + "/"
	}
	i, _ := slices.BinarySearch(r.paths, prefix)
	for _, path := range r.paths[i:] {
		rest, below := strings.CutPrefix(path, prefix)
		if !below {
			break
		}
		if name, _, _ := strings.Cut(rest, "/"); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), false
}

// MayKey reports whether all of p is permitted on a master key. KMSAdmin
// includes the others.
func (r *Rights) MayKey(p Permissions, provider, key string) bool {
	have := r.OnKey(provider, key)
	return have&KMSAdmin != 0 && p&^onKeys == 0 || have&p == p
}

// Keys returns the master keys on which anything is permitted, as
// PROVIDER/KEY, in order.
func (r *Rights) Keys() []string {
	if r == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(r.keys))
}

// OnKey returns what is permitted on a master key.
func (r *Rights) OnKey(provider, key string) Permissions {
	if r == nil {
		return 0
	}
	return r.keys[provider+"/"+key]
}
