package treesync

import (
	"errors"
	"fmt"
	"slices"
)

// Op is what is to be done with a path.
type Op uint8

// The operations. Keep and Conflict leave the destination as it is: Keep where
// it alone has changed, Conflict where nobody but a person can tell.
const (
	Mkdir      Op = 1 + iota // make the directory
	Copy                     // there is nothing at the destination yet
	Replace                  // the content differs
	Attributes               // only permissions or time differ
	Delete                   // gone at the source
	Keep
	Conflict
	Skip // the source has something that cannot be copied
)

// String is the word that reports use.
func (o Op) String() string {
	return [...]string{"", "mkdir", "copy", "replace", "attributes", "delete", "keep", "conflict", "skip"}[o]
}

// Action is one thing to be done, or not to be done.
type Action struct {
	Op     Op
	Path   string
	Source *Node  // nil: nothing is there
	Dest   *Node  // nil: nothing is there
	Clear  bool   // what stands at the destination, a tree perhaps, has to be deleted first
	Why    string // of Keep, Conflict and Skip
}

// Options says what may be done.
type Options struct {
	Delete     bool // delete what is gone at the source
	Force      bool // overwrite and delete what else would be kept or a conflict
	Remembered bool // there was a last time: what has no base is new
	Incomplete bool // the source could not be listed as a whole: nothing is deleted
	Part       bool // the listings are of a part of the trees, which may be empty
}

// Plan is what a comparison comes to. Actions are in Order, deletions in the
// reverse of it.
type Plan struct {
	Actions   []Action
	Deletions []Action
	Unchanged int      // files and links that are the same already
	Same      [][2]int // index in source and dest of what has the same content
}

// ErrEmptySource refuses to delete everything because nothing is there.
var ErrEmptySource = errors.New("the source is empty: deleting all of the destination is refused (--force does it)")

// Compare plans how dest comes to have what source has. Both are in Order;
// base returns what both had when they were last in step, nil for nothing.
// Digests that are needed must be known (see Unread).
func Compare(source, dest []Node, base func(path string) *Base, o Options) (*Plan, error) {
	if o.Delete && !o.Force && !o.Incomplete && !o.Part && len(source) == 0 && len(dest) > 0 {
		return nil, ErrEmptySource
	}
	p := &planner{o: o, base: base}
	for i, j := 0, 0; i < len(source) || j < len(dest); {
		switch {
		case j == len(dest) || i < len(source) && Order(source[i].Path, dest[j].Path) < 0:
			p.onlySource(&source[i])
			i++
		case i == len(source) || Order(source[i].Path, dest[j].Path) > 0:
			p.onlyDest(&dest[j])
			j++
		default:
			if p.both(&source[i], &dest[j]) {
				p.plan.Same = append(p.plan.Same, [2]int{i, j})
			}
			i++
			j++
		}
	}
	p.settleDeletions()
	return &p.plan, nil
}

type planner struct {
	o       Options
	base    func(string) *Base
	plan    Plan
	blocked string   // below this nothing is copied: something else stands there
	cleared string   // below this everything is deleted to make room
	gone    []Action // candidates for deletion, in Order
	kept    []string // what stays at the destination, in Order
}

func (p *planner) add(a Action) { p.plan.Actions = append(p.plan.Actions, a) }

func (p *planner) refuse(op Op, s, d *Node, format string, args ...any) {
	a := Action{Op: op, Source: s, Dest: d, Why: fmt.Sprintf(format, args...)}
	if s != nil {
		a.Path = s.Path
	} else {
		a.Path = d.Path
	}
	p.add(a)
}

// onlySource copies what is not at the destination. What was deleted there
// comes back: nothing is lost by that.
func (p *planner) onlySource(s *Node) {
	switch {
	case p.blocked != "" && below(s.Path, p.blocked):
	case s.Kind == Other:
		p.refuse(Skip, s, nil, "a special file is not copied")
	case s.Kind == Dir:
		p.add(Action{Op: Mkdir, Path: s.Path, Source: s})
	default:
		p.add(Action{Op: Copy, Path: s.Path, Source: s})
	}
}

// onlyDest deletes what is gone at the source, if that is wanted and it is
// still what the source had.
func (p *planner) onlyDest(d *Node) {
	if p.cleared != "" && below(d.Path, p.cleared) {
		return // goes with what it is in
	}
	if !p.o.Delete || p.o.Incomplete || p.blocked != "" && below(d.Path, p.blocked) {
		p.kept = append(p.kept, d.Path)
		return
	}
	b := p.base(d.Path)
	switch {
	case p.o.Force || !p.o.Remembered || d.Kind == Dir:
		p.gone = append(p.gone, Action{Op: Delete, Path: d.Path, Dest: d})
	case b == nil:
		p.kept = append(p.kept, d.Path)
		p.refuse(Keep, nil, d, "new at the destination (--force deletes it)")
	case changed(d, b, b.Dest):
		p.kept = append(p.kept, d.Path)
		p.refuse(Conflict, nil, d, "deleted at the source, changed at the destination")
	default:
		p.gone = append(p.gone, Action{Op: Delete, Path: d.Path, Dest: d})
	}
}

// both compares what is on both sides; it reports whether the contents are the
// same.
func (p *planner) both(s, d *Node) bool {
	p.kept = append(p.kept, d.Path)
	if p.blocked != "" && below(s.Path, p.blocked) {
		return false
	}
	b := p.base(s.Path)
	switch {
	case s.Kind == Other:
		p.refuse(Skip, s, d, "a special file is not copied")
	case d.Kind == Other:
		p.refuse(Conflict, s, d, "a special file stands at the destination: move it away")
	case s.Kind != d.Kind && (s.Kind == Dir || d.Kind == Dir):
		p.mixed(s, d)
	case same(s, d, b):
		if !sameAttributes(s, d) {
			p.add(Action{Op: Attributes, Path: s.Path, Source: s, Dest: d})
		} else if s.Kind != Dir {
			p.plan.Unchanged++
		}
		return s.Kind != Dir
	default:
		p.differing(s, d, b)
	}
	return false
}

// mixed deals with a directory on one side and something else on the other.
func (p *planner) mixed(s, d *Node) {
	if !p.o.Force || d.Kind == Dir && (!p.o.Delete || p.o.Incomplete) {
		way := "--force replaces it"
		if d.Kind == Dir {
			way = "--force --delete replaces it with all that is in it"
		}
		p.refuse(Conflict, s, d, "a %s at the source, a %s at the destination (%s)", s.Kind, d.Kind, way)
		p.blocked = s.Path
		return
	}
	a := Action{Op: Copy, Path: s.Path, Source: s, Dest: d, Clear: true}
	if s.Kind == Dir {
		a.Op = Mkdir
	} else {
		p.cleared = s.Path
	}
	p.add(a)
}

// differing decides about contents that are not the same.
func (p *planner) differing(s, d *Node, b *Base) {
	replace := Action{Op: Replace, Path: s.Path, Source: s, Dest: d}
	switch {
	case p.o.Force:
		p.add(replace)
	case b != nil && !changed(d, b, b.Dest):
		p.add(replace)
	case b != nil && !changed(s, b, b.Source):
		p.refuse(Keep, s, d, "changed at the destination only (--force replaces it)")
	case b != nil:
		p.refuse(Conflict, s, d, "changed on both sides since they were last in step")
	case p.o.Remembered:
		p.refuse(Conflict, s, d, "new on both sides, and not the same")
	case d.Modified > s.Modified:
		p.refuse(Conflict, s, d, "newer at the destination")
	default:
		p.add(replace)
	}
}

// settleDeletions drops directories that keep something, and reverses the
// rest so that directories are empty when their turn comes.
func (p *planner) settleDeletions() {
	for i := len(p.gone) - 1; i >= 0; i-- {
		a := p.gone[i]
		// What is in a directory stands right behind it.
		k, _ := slices.BinarySearchFunc(p.kept, a.Path, Order)
		if k < len(p.kept) && below(p.kept[k], a.Path) {
			continue
		}
		p.plan.Deletions = append(p.plan.Deletions, a)
	}
}

// Unread calls read with every file whose digest Compare would have to know
// and does not: its twin has the same size, or what it was has. What only the
// destination has matters where it may be deleted.
func Unread(source, dest []Node, base func(path string) *Base, deleting bool, read func(n *Node, ofSource bool)) {
	i := 0
	for j := range dest {
		d := &dest[j]
		for i < len(source) && Order(source[i].Path, d.Path) < 0 {
			i++
		}
		if d.Kind != File {
			continue
		}
		if i == len(source) || source[i].Path != d.Path {
			if deleting && needed(d, false, base(d.Path)) {
				read(d, false)
			}
			continue
		}
		s, b := &source[i], base(d.Path)
		twins := s.Kind == File && s.Size == d.Size
		if needed(s, twins, b) {
			read(s, true)
		}
		if needed(d, twins, b) {
			read(d, false)
		}
	}
}

func needed(n *Node, twins bool, b *Base) bool {
	return n.Kind == File && !n.Digest.Known() && (twins || b != nil && b.Kind == File && b.Size == n.Size)
}
