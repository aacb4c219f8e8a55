package mirror

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/efs-project/efs/internal/treesync"
)

// execute does what a plan says. Directories come first, then files side by
// side, then deletions, and at last the attributes of directories, which all
// of that would change.
func (m *Mirror) execute(ctx context.Context, l *listings, plan *treesync.Plan) error {
	for _, p := range plan.Same {
		s, d := &l.source[p[0]], &l.dest[p[1]]
		n := *s
		if !n.Digest.Known() {
			n.Digest = d.Digest
		}
		m.mem.inStep(&n, s.Version, d.Version)
	}
	if !l.part { // parts would be counted again and again
		m.mu.Lock()
		m.result.Unchanged = plan.Unchanged
		m.mu.Unlock()
	}
	if len(plan.Actions) > 0 || len(plan.Deletions) > 0 {
		if err := m.dst.prepare(ctx); err != nil {
			return err
		}
	}
	dirs := m.destDirs(l)
	m.makeWritable(ctx, plan, dirs)
	files := m.directories(ctx, plan)
	if m.o.Expect != nil && len(files) > 0 {
		var bytes int64
		for _, a := range files {
			bytes += a.Source.Size
		}
		m.o.Expect(len(files), bytes)
	}
	err := m.parallel(ctx, len(files), func(i int) { m.file(ctx, files[i]) })
	if err == nil && m.o.RemoveSource {
		err = m.removeSame(ctx, l, plan)
	}
	if err == nil {
		err = m.deletions(ctx, plan.Deletions)
	}
	// Also after an interrupt: what was made is to have its attributes.
	m.directoryAttributes(context.WithoutCancel(ctx), l, plan)
	return err
}

// directories makes directories, one after the other: they are few, quick and
// depend on each other. It tells what is left alone, and returns the rest.
func (m *Mirror) directories(ctx context.Context, plan *treesync.Plan) (files []*treesync.Action) {
	_, onThisMachine := m.dst.(*local)
	missing := "" // this directory could not be made
	for i := range plan.Actions {
		a := &plan.Actions[i]
		if ctx.Err() != nil {
			return files
		}
		if missing != "" && strings.HasPrefix(a.Path, missing) {
			m.done(a, errNoDir) // a link may stand there, which would be followed
			continue
		}
		switch a.Op {
		case treesync.Keep, treesync.Conflict, treesync.Skip:
			m.done(a, nil)
		case treesync.Mkdir:
			err := m.room(ctx, a)
			if err == nil {
				err = m.dst.mkdir(ctx, a.Source)
			}
			if err != nil && onThisMachine {
				missing = a.Path + "/"
			} else {
				m.markTouched(a.Path)
			}
			m.touch(a.Path)
			m.done(a, err)
		case treesync.Attributes:
			if a.Source.Kind == treesync.Dir {
				m.markTouched(a.Path)
				m.done(a, nil)
				continue
			}
			files = append(files, a)
		default:
			files = append(files, a)
		}
	}
	return files
}

var errNoDir = errors.New("the directory that it is in could not be made")

// room deletes what stands in the way, where that was asked for; not a
// directory that holds something that was left out.
func (m *Mirror) room(ctx context.Context, a *treesync.Action) error {
	if !a.Clear {
		return nil
	}
	if a.Dest.Kind == treesync.Dir && !m.o.Filter.Empty() {
		nodes, err := m.dst.list(ctx, a.Path, true, nil, func(error) {})
		if err != nil {
			return err
		}
		for i := range nodes {
			if m.o.Filter.ExcludesBelow(nodes[i].Path, nodes[i].Kind == treesync.Dir) {
				return errNotEmpty
			}
		}
	}
	return m.dst.clear(ctx, a.Dest)
}

// touch notes that something was done in the directory that path is in.
func (m *Mirror) touch(p string) {
	if dir := path.Dir(p); dir != "." {
		m.markTouched(dir)
	}
}

func (m *Mirror) markTouched(dir string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.touched[dir] = true
}

// file does one thing with a file or a link.
func (m *Mirror) file(ctx context.Context, a *treesync.Action) {
	m.touch(a.Path)
	var err error
	switch {
	case a.Op == treesync.Attributes:
		err = m.fileAttributes(ctx, a)
	default:
		if err = m.room(ctx, a); err != nil {
			break
		}
		if a.Source.Kind == treesync.Symlink {
			err = m.link(ctx, a)
		} else {
			err = m.content(ctx, a)
		}
		if err == nil && m.o.RemoveSource {
			err = m.removeSource(ctx, a.Source)
		}
	}
	if err != nil && ctx.Err() != nil {
		return // who interrupts need not be told of each file
	}
	m.done(a, err)
}

func (m *Mirror) link(ctx context.Context, a *treesync.Action) error {
	version, err := m.dst.symlink(ctx, a, m.o.Force)
	if err == nil {
		m.mem.inStep(a.Source, a.Source.Version, version)
	}
	return err
}

// fileAttributes gives a file at the destination the source's permissions and
// time. Where only its version tells that it is still in step, the new one is
// looked up.
func (m *Mirror) fileAttributes(ctx context.Context, a *treesync.Action) error {
	if err := m.dst.attributes(ctx, a.Source); err != nil {
		return err
	}
	r, ok := m.dst.(*remote)
	if !ok || a.Source.Digest.Known() && a.Dest.Digest.Known() {
		return nil
	}
	e, err := r.c.Stat(ctx, r.path(a.Path))
	if err != nil {
		return err
	}
	m.mem.inStep(a.Source, a.Source.Version, e.ETag)
	return nil
}

// removeSource removes what the destination has confirmed, if it is still what
// was read. It is no longer remembered: what is at the destination alone is
// not to be taken for deleted at the source.
func (m *Mirror) removeSource(ctx context.Context, n *treesync.Node) error {
	if err := m.src.remove(ctx, n, false); err != nil {
		if errors.Is(err, errMoved) {
			err = errSourceChanged
		}
		return err
	}
	m.mem.gone(n.Path)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.result.Removed++
	return nil
}

var errSourceChanged = errors.New("it changed at the source after it was copied, and was not removed there: run this again")

// removeSame removes at the source what was at the destination already, with
// the same digest as was read just now.
func (m *Mirror) removeSame(ctx context.Context, l *listings, plan *treesync.Plan) error {
	return m.parallel(ctx, len(plan.Same), func(i int) {
		s, d := &l.source[plan.Same[i][0]], &l.dest[plan.Same[i][1]]
		if s.Kind == treesync.File && (!s.Digest.Known() || s.Digest != d.Digest) {
			m.trouble(errors.New(m.src.name(s.Path) + ": there is no digest that proves the copy right: not removed (--checksum reads it)"))
			return
		}
		if err := m.removeSource(ctx, s); err != nil && ctx.Err() == nil {
			m.trouble(errors.New(m.src.name(s.Path) + ": " + err.Error()))
		}
	})
}

// deletions removes what is gone at the source: files side by side, then
// directories, which come after what is in them.
func (m *Mirror) deletions(ctx context.Context, gone []treesync.Action) error {
	one := func(a *treesync.Action) {
		err := m.dst.remove(ctx, a.Dest, m.o.Force)
		if err == nil {
			m.touch(a.Path)
			m.mem.gone(a.Path)
		}
		if err == nil || ctx.Err() == nil {
			m.done(a, err)
		}
	}
	var files, dirs []*treesync.Action
	for i := range gone {
		if gone[i].Dest.Kind == treesync.Dir {
			dirs = append(dirs, &gone[i])
		} else {
			files = append(files, &gone[i])
		}
	}
	if err := m.parallel(ctx, len(files), func(i int) { one(files[i]) }); err != nil {
		return err
	}
	for _, a := range dirs {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		one(a)
	}
	return nil
}

// directoryAttributes gives directories in which something was done the
// permissions and times of the source, the deepest first.
func (m *Mirror) directoryAttributes(ctx context.Context, l *listings, plan *treesync.Plan) {
	var dirs []*treesync.Node
	for i := range l.source {
		if n := &l.source[i]; n.Kind == treesync.Dir && m.touched[n.Path] {
			dirs = append(dirs, n)
		}
	}
	slices.Reverse(dirs)
	_, onThisMachine := m.dst.(*local)
	planned := map[string]bool{}
	for i := range plan.Actions {
		if a := &plan.Actions[i]; a.Op == treesync.Attributes {
			planned[a.Path] = true
		}
	}
	for _, n := range dirs {
		if !onThisMachine && !planned[n.Path] {
			continue // made with its attributes, and unaffected by what is stored in it
		}
		if err := m.dst.attributes(ctx, n); err != nil {
			m.trouble(err)
		}
	}
	clear(m.touched)
}

// destDirs returns the directories that the destination has.
func (m *Mirror) destDirs(l *listings) map[string]*treesync.Node {
	if _, ok := m.dst.(*local); !ok {
		return nil
	}
	dirs := map[string]*treesync.Node{}
	for i := range l.dest {
		if n := &l.dest[i]; n.Kind == treesync.Dir {
			dirs[n.Path] = n
		}
	}
	return dirs
}

// makeWritable opens directories on this machine in which something is to be
// done and their owner may not write. Their permissions come back at the end.
func (m *Mirror) makeWritable(ctx context.Context, plan *treesync.Plan, dirs map[string]*treesync.Node) {
	const owner = 0o700
	for _, list := range [][]treesync.Action{plan.Actions, plan.Deletions} {
		for i := range list {
			n := dirs[path.Dir(list[i].Path)]
			if n == nil || !n.HasMode || n.Mode&owner == owner || list[i].Op >= treesync.Keep {
				continue
			}
			wide := *n
			wide.Mode |= owner
			if m.dst.attributes(ctx, &wide) == nil { // else what is done in it fails, and says so
				n.Mode = wide.Mode
				m.markTouched(n.Path)
			}
		}
	}
}
