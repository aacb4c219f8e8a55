package treesync

import (
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// tree is a model of a side: path → content, "dir" for directories.
type tree map[string]string

const isDir = "dir"

func (t tree) nodes() []Node {
	var out []Node
	for p, c := range t {
		n := Node{Path: p, Kind: File, Size: int64(len(c)), Digest: sha256.Sum256([]byte(c)), Modified: int64(len(c))}
		switch {
		case c == isDir:
			n = Node{Path: p, Kind: Dir}
		case strings.HasPrefix(c, "->"):
			n = Node{Path: p, Kind: Symlink, Target: c}
		}
		out = append(out, n)
	}
	Sort(out)
	return out
}

// put gives a path a content, with directories above it, if nothing but a
// directory stands in the way.
func (t tree) put(p, c string) {
	for i := range len(p) {
		if p[i] == '/' {
			if have, ok := t[p[:i]]; ok && have != isDir {
				return
			}
			t[p[:i]] = isDir
		}
	}
	if t[p] != isDir {
		t[p] = c
	}
}

func (t tree) remove(p string) {
	for q := range t {
		if q == p || below(q, p) {
			delete(t, q)
		}
	}
}

var anyPath = rapid.Custom(func(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "a-b", "c"}), 1, 3).Draw(t, "path"), "/")
})

var anyContent = rapid.SampledFrom([]string{"", "x", "y", "xy", "yx", "->x", "->y", isDir})

// mutate changes a tree as its users do.
func mutate(t *rapid.T, of tree, most int) tree {
	out := maps.Clone(of)
	for range rapid.IntRange(0, most).Draw(t, "changes") {
		if rapid.IntRange(0, 3).Draw(t, "what") == 0 {
			out.remove(anyPath.Draw(t, "remove"))
		} else {
			out.put(anyPath.Draw(t, "at"), anyContent.Draw(t, "content"))
		}
	}
	return out
}

// bases is the memory of a time at which both sides agreed about these paths.
func bases(of tree) map[string]*Base {
	out := map[string]*Base{}
	for _, n := range of.nodes() {
		if n.Kind != Dir {
			out[n.Path] = &Base{Kind: n.Kind, Size: n.Size, Digest: n.Digest, Target: n.Target}
		}
	}
	return out
}

// apply does what a plan says, refusing what a real tree would refuse.
func apply(t *rapid.T, p *Plan, source, dest tree) tree {
	out := maps.Clone(dest)
	for _, a := range p.Actions {
		if a.Clear {
			out.remove(a.Path)
		}
		switch a.Op {
		case Mkdir, Copy:
			if have, ok := out[a.Path]; ok {
				t.Fatalf("%s %s: %q is there", a.Op, a.Path, have)
			}
			if i := strings.LastIndexByte(a.Path, '/'); i > 0 && out[a.Path[:i]] != isDir {
				t.Fatalf("%s %s: no directory to go into", a.Op, a.Path)
			}
			out[a.Path] = source[a.Path]
		case Replace:
			if have, ok := out[a.Path]; !ok || have == isDir {
				t.Fatalf("replace %s: %q is there", a.Path, have)
			}
			out[a.Path] = source[a.Path]
		}
	}
	for _, a := range p.Deletions {
		for q := range out {
			if below(q, a.Path) {
				t.Fatalf("delete %s: %s is in it", a.Path, q)
			}
		}
		delete(out, a.Path)
	}
	return out
}

// refused returns what a plan leaves alone although it differs.
func refused(p *Plan) map[string]Op {
	out := map[string]Op{}
	for _, a := range p.Actions {
		if a.Op == Keep || a.Op == Conflict {
			out[a.Path] = a.Op
		}
	}
	return out
}

// excused reports whether path or something above it was refused.
func excused(no map[string]Op, path string) bool {
	for q := range no {
		if q == path || below(path, q) {
			return true
		}
	}
	return false
}

// TestAPlanMakesTheDestinationFollow: what is not refused is the same
// afterwards, nothing that only the destination has is lost, and a second plan
// finds nothing more to do.
func TestAPlanMakesTheDestinationFollow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		was := mutate(t, tree{}, 8)
		source, dest := mutate(t, was, 6), mutate(t, was, 6)
		o := Options{Delete: rapid.Bool().Draw(t, "delete"), Force: rapid.Bool().Draw(t, "force"), Remembered: rapid.Bool().Draw(t, "remembered")}
		memory := map[string]*Base{}
		if o.Remembered {
			memory = bases(was)
		}
		base := func(p string) *Base { return memory[p] }
		p, err := Compare(source.nodes(), dest.nodes(), base, o)
		if errors.Is(err, ErrEmptySource) {
			if !o.Delete || o.Force || len(source) > 0 || len(dest) == 0 {
				t.Fatal(err)
			}
			return
		}
		after, no := apply(t, p, source, dest), refused(p)
		for path, c := range source {
			if after[path] != c && !excused(no, path) {
				t.Fatalf("%s is %q, want %q", path, after[path], c)
			}
		}
		for path, c := range dest {
			have, there := after[path]
			if there && have == c || o.Force {
				continue
			}
			if _, ok := source[path]; !ok && !o.Delete {
				t.Fatalf("%s was deleted unasked", path)
			}
			if o.Remembered && c != isDir && was[path] != c {
				t.Fatalf("%s: %q of the destination alone was lost", path, c)
			}
		}
		if o.Delete && o.Force && !maps.Equal(after, source) {
			t.Fatalf("forced, the destination is %v, want %v", after, source)
		}
		now := bases(after)
		for path := range now { // what is in step is remembered, the rest as it was
			if c, ok := source[path]; !ok || c != after[path] {
				delete(now, path)
				if b := memory[path]; b != nil {
					now[path] = b
				}
			}
		}
		again, err := Compare(source.nodes(), after.nodes(), func(p string) *Base { return now[p] }, Options{Delete: o.Delete, Remembered: true})
		if err != nil && !errors.Is(err, ErrEmptySource) {
			t.Fatal(err)
		}
		if err == nil && len(again.Deletions) > 0 && o.Remembered {
			t.Fatalf("again: would delete %v", again.Deletions)
		}
		if err == nil && o.Remembered {
			for _, a := range again.Actions {
				if a.Op != Keep && a.Op != Conflict {
					t.Fatalf("again: %s %s", a.Op, a.Path)
				}
			}
		}
	})
}

// TestTwoWaysLoseNothing: who syncs there and back again finds every change of
// either side on one of them.
func TestTwoWaysLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		was := mutate(t, tree{}, 8)
		a, b := mutate(t, was, 6), mutate(t, was, 6)
		memory := bases(was)
		o := Options{Delete: rapid.Bool().Draw(t, "delete"), Remembered: true}
		mine, yours := maps.Clone(a), maps.Clone(b)
		for range 2 {
			p, err := Compare(a.nodes(), b.nodes(), func(p string) *Base { return memory[p] }, o)
			if errors.Is(err, ErrEmptySource) {
				return
			}
			b = apply(t, p, a, b)
			for path, base := range bases(b) {
				if c, ok := a[path]; ok && c == b[path] {
					memory[path] = base
				}
			}
			for path := range memory {
				if _, ok := b[path]; !ok {
					delete(memory, path)
				}
			}
			a, b = b, a
		}
		for _, side := range []tree{mine, yours} {
			for path, c := range side {
				if c != isDir && was[path] != c && a[path] != c && b[path] != c {
					t.Fatalf("%s: the change to %q is nowhere", path, c)
				}
			}
		}
	})
}

func TestWhatIsNewerAtTheDestinationIsAConflictTheFirstTime(t *testing.T) {
	s := []Node{{Path: "f", Kind: File, Size: 1, Modified: 10, Digest: Digest{1}}}
	d := []Node{{Path: "f", Kind: File, Size: 1, Modified: 11, Digest: Digest{2}}}
	none := func(string) *Base { return nil }
	for _, c := range []struct {
		o    Options
		want Op
	}{{Options{}, Conflict}, {Options{Force: true}, Replace}, {Options{Remembered: true}, Conflict}} {
		p, err := Compare(s, d, none, c.o)
		if err != nil || len(p.Actions) != 1 || p.Actions[0].Op != c.want {
			t.Errorf("%+v: %+v, %v; want %s", c.o, p, err, c.want)
		}
	}
	d[0].Modified = 9
	if p, _ := Compare(s, d, none, Options{}); p.Actions[0].Op != Replace {
		t.Errorf("older at the destination: %s, want replace", p.Actions[0].Op)
	}
}

func TestWithoutADigestVersionsAndTimesTell(t *testing.T) {
	local := Node{Path: "f", Kind: File, Size: 5, Modified: 10, Digest: Digest{1}}
	remote := Node{Path: "f", Kind: File, Size: 5, Modified: 20, Version: "v2"}
	b := &Base{Kind: File, Size: 5, Digest: Digest{1}, Dest: "v2"}
	op := func() []Op {
		p, err := Compare([]Node{local}, []Node{remote}, func(string) *Base { return b }, Options{Remembered: b != nil})
		if err != nil {
			t.Fatal(err)
		}
		var ops []Op
		for _, a := range p.Actions {
			ops = append(ops, a.Op)
		}
		return ops
	}
	if got := op(); !slices.Equal(got, []Op{Attributes}) {
		t.Errorf("neither changed: %v", got)
	}
	local.Digest = Digest{2}
	if got := op(); !slices.Equal(got, []Op{Replace}) {
		t.Errorf("the source changed: %v", got)
	}
	remote.Version = "v3"
	if got := op(); !slices.Equal(got, []Op{Conflict}) {
		t.Errorf("both changed: %v", got)
	}
	b, remote.Modified = nil, 10
	if got := op(); len(got) != 0 {
		t.Errorf("the first time, of one size and time: %v", got)
	}
}

func TestNothingIsDeletedWhereTheSourceIsNotKnown(t *testing.T) {
	d := tree{"a": "x", "b": isDir, "b/c": "y"}.nodes()
	none := func(string) *Base { return nil }
	if _, err := Compare(nil, d, none, Options{Delete: true}); !errors.Is(err, ErrEmptySource) {
		t.Errorf("an empty source: %v", err)
	}
	p, err := Compare(nil, d, none, Options{Delete: true, Incomplete: true})
	if err != nil || len(p.Deletions) > 0 {
		t.Errorf("a source that is not known: %+v, %v", p, err)
	}
	if p, err = Compare(nil, d, none, Options{Delete: true, Force: true}); err != nil || len(p.Deletions) != 3 {
		t.Errorf("forced: %+v, %v", p, err)
	}
}

func TestOnlyDigestsThatDecideAreRead(t *testing.T) {
	s := []Node{{Path: "alone", Kind: File, Size: 1}, {Path: "grown", Kind: File, Size: 2}, {Path: "twin", Kind: File, Size: 3}}
	d := []Node{{Path: "grown", Kind: File, Size: 1, Digest: Digest{1}}, {Path: "twin", Kind: File, Size: 3, Digest: Digest{2}}}
	var read []string
	Unread(s, d, func(p string) *Base { return nil }, true, func(n *Node, ofSource bool) { read = append(read, n.Path) })
	if !slices.Equal(read, []string{"twin"}) {
		t.Errorf("read: %v", read)
	}
}
