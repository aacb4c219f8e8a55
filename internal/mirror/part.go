package mirror

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/efs-project/efs/internal/treesync"
)

// scope is the directories to be compared; true: with all below them.
type scope map[string]bool

func (s scope) add(d dirty) {
	if d.all {
		d.dir, d.deep = "", true
	}
	s[d.dir] = s[d.dir] || d.deep
}

// dirs returns the directories, without those that lie in a deep one.
func (s scope) dirs() []string {
	var out []string
	for dir := range s {
		covered := false
		for up := dir; up != "" && !covered; {
			up = parent(up)
			covered = s[up]
		}
		if !covered {
			out = append(out, dir)
		}
	}
	slices.SortFunc(out, treesync.Order)
	return out
}

func parent(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}

// some makes the destination follow in a part of the tree.
func (m *Mirror) some(ctx context.Context, s scope) error {
	l := &listings{part: true}
	done := map[string]bool{}
	for _, dir := range s.dirs() {
		if dir != "" && m.o.Filter.ExcludesBelow(dir, true) {
			continue
		}
		if err := m.listDir(ctx, l, dir, s[dir], done); err != nil {
			return err
		}
	}
	same := func(a, b treesync.Node) bool { return a.Path == b.Path }
	for _, nodes := range []*[]treesync.Node{&l.source, &l.dest} {
		treesync.Sort(*nodes)
		*nodes = slices.CompactFunc(*nodes, same)
	}
	m.remembered(m.src, l.source)
	m.remembered(m.dst, l.dest)
	if err := m.pass(ctx, l); err != nil {
		return err
	}
	m.mem.mu.Lock()
	defer m.mem.mu.Unlock()
	m.mem.flush()
	return nil
}

// listDir adds what is in a directory to the listings: where one side does not
// have it, the directory above it.
func (m *Mirror) listDir(ctx context.Context, l *listings, dir string, deep bool, done map[string]bool) error {
	for {
		if done[dir] {
			return nil
		}
		s, serr := m.listSide(ctx, m.src, dir, deep, &l.incomplete)
		if serr != nil && !errors.Is(serr, errNotThere) {
			return serr
		}
		var ignored bool
		d, derr := m.listSide(ctx, m.dst, dir, deep, &ignored)
		if derr != nil && !errors.Is(derr, errNotThere) {
			return derr
		}
		if dir == "" && serr != nil {
			return serr
		}
		if dir != "" && (serr != nil || derr != nil) {
			dir, deep = parent(dir), false
			continue
		}
		done[dir] = true
		l.source, l.dest = append(l.source, s...), append(l.dest, d...)
		if err := m.listSelf(ctx, l, dir); err != nil || deep {
			return err
		}
		return m.listLonely(ctx, l, s, d)
	}
}

// listSelf adds the directory, whose time changes with what is in it.
func (m *Mirror) listSelf(ctx context.Context, l *listings, dir string) error {
	if dir == "" {
		return nil
	}
	s, err := m.src.stat(ctx, dir)
	if err != nil || s == nil {
		return err
	}
	d, err := m.dst.stat(ctx, dir)
	if err != nil || d == nil {
		return err
	}
	l.source, l.dest = append(l.source, *s), append(l.dest, *d)
	return nil
}

// listLonely adds all that is in directories that only one side has, of what
// was listed of one directory.
func (m *Mirror) listLonely(ctx context.Context, l *listings, s, d []treesync.Node) error {
	for i, j := 0, 0; i < len(s) || j < len(d); {
		switch {
		case j == len(d) || i < len(s) && treesync.Order(s[i].Path, d[j].Path) < 0:
			if err := m.listTree(ctx, m.src, &s[i], &l.source, &l.incomplete); err != nil {
				return err
			}
			i++
		case i == len(s) || treesync.Order(s[i].Path, d[j].Path) > 0:
			var ignored bool
			if err := m.listTree(ctx, m.dst, &d[j], &l.dest, &ignored); err != nil {
				return err
			}
			j++
		default:
			var ignored bool
			if s[i].Kind != d[j].Kind { // one of them may be a directory
				if err := errors.Join(m.listTree(ctx, m.src, &s[i], &l.source, &l.incomplete), m.listTree(ctx, m.dst, &d[j], &l.dest, &ignored)); err != nil {
					return err
				}
			}
			i++
			j++
		}
	}
	return nil
}

func (m *Mirror) listTree(ctx context.Context, s side, n *treesync.Node, into *[]treesync.Node, incomplete *bool) error {
	if n.Kind != treesync.Dir {
		return nil
	}
	nodes, err := m.listSide(ctx, s, n.Path, true, incomplete)
	if errors.Is(err, errNotThere) {
		return nil // gone again
	}
	*into = append(*into, nodes...)
	return err
}
