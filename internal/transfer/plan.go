package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/efs-project/efs/internal/stage"
)

// Item is one file or directory to be copied. Rel is its path below From and
// To, with slashes; "" for the places themselves.
type Item struct {
	From, To Place
	Rel      string
	Dir      bool
	Size     int64 // of a file, bytes
}

// Source and Target are the item's own places.
func (it *Item) Source() Place { return it.From.join(it.Rel) }

// Target is where the item comes to be.
func (it *Item) Target() Place { return it.To.join(it.Rel) }

// PlanOptions says how a tree is walked.
type PlanOptions struct {
	Recursive   bool // directories too
	Dereference bool // copy what symbolic links point to
}

// Plan is what a copy comes to, and what it leaves out.
type Plan struct {
	Items   []Item
	Files   int
	Bytes   int64
	Skipped []error // what cannot be copied: links, devices
	Parts   int     // files under way on this machine, which are passed by
}

// ErrUsage marks errors in what was asked for, as against in doing it.
var ErrUsage = errors.New("usage")

type usageError string

func (e usageError) Error() string        { return string(e) }
func (e usageError) Is(target error) bool { return target == ErrUsage }

func usage(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// Make plans the copy of sources to to, with the rules of cp(1): several
// sources go into a directory that must be one, or in a file system is made;
// two of one name are refused; a directory that is not there
// yet becomes a copy of the source, one that is there receives it.
func Make(ctx context.Context, sources []Place, to Place, o PlanOptions) (*Plan, error) {
	dst, err := to.stat(ctx)
	if err != nil {
		return nil, err
	}
	if len(sources) > 1 && !dst.dir {
		if dst.exists || to.local() || !to.meansDir() {
			return nil, usage("%s is not a directory: several sources need one to go into", to)
		}
		dst.dir = true // storing makes it; none of the sources becomes it
	}
	var plan Plan
	targets := map[string]Place{}
	for _, from := range sources {
		name := from.base()
		if twin, ok := targets[name]; ok && name != "" {
			return nil, usage("%s and %s would both become %s: copy them one by one", twin, from, to.join(name))
		}
		targets[name] = from
		if err := plan.add(ctx, from, to, dst, o); err != nil {
			return nil, err
		}
	}
	return &plan, nil
}

// add plans one source.
func (p *Plan) add(ctx context.Context, from, to Place, dst info, o PlanOptions) error {
	if from.local() && to.local() {
		return usage("%s and %s are both on this machine: use cp; a file system is written as REMOTE:/path (efs remote list)", from, to)
	}
	src, err := from.stat(ctx)
	switch {
	case err != nil:
		return err
	case !src.exists:
		return fmt.Errorf("%s: there is no such file or directory", from)
	case src.dir && !o.Recursive:
		return usage("%s is a directory: copy it with -r", from)
	case src.dir && dst.exists && !dst.dir:
		return fmt.Errorf("%s is a file: a directory cannot take its place", to)
	case !src.dir && from.meansDir():
		return fmt.Errorf("%s is a file, not a directory", from)
	}
	if dst.dir || !src.dir && to.meansDir() {
		if !src.dir && to.local() && !dst.dir {
			return fmt.Errorf("%s: there is no such directory; make it first", to)
		}
		to = to.join(from.base())
	}
	if err := notIntoItself(from, to); err != nil {
		return err
	}
	if src.dir {
		return p.walk(ctx, from, to, o)
	}
	if from.local() && !src.regular {
		return fmt.Errorf("%s is not a regular file; pipe it in: efs put DST < %s", from, from)
	}
	p.file(Item{From: from, To: to, Size: src.size})
	return nil
}

func (p *Plan) file(it Item) {
	p.Items = append(p.Items, it)
	p.Files++
	p.Bytes += it.Size
}

// notIntoItself refuses a copy that would read what it writes.
func notIntoItself(from, to Place) error {
	if from.local() || to.local() || from.Remote != to.Remote {
		return nil
	}
	a, b := strings.Trim(from.Path, "/"), strings.Trim(to.Path, "/")
	if a == b {
		return usage("%s and %s are the same", from, to)
	}
	if a == "" || strings.HasPrefix(b, a+"/") {
		return usage("%s cannot be copied into itself (%s)", from, to)
	}
	return nil
}

// walk plans a tree.
func (p *Plan) walk(ctx context.Context, from, to Place, o PlanOptions) error {
	p.Items = append(p.Items, Item{From: from, To: to, Dir: true})
	if from.local() {
		return p.walkLocal(ctx, from, to, "", o)
	}
	for e, err := range from.Client.List(ctx, from.Path, recursively) {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(e.Path, "/"+strings.Trim(from.Path, "/")), "/")
		it := Item{From: from, To: to, Rel: rel, Size: e.Size}
		switch {
		case e.IsDir():
			it.Dir, it.Size = true, 0
			p.Items = append(p.Items, it)
		case e.Kind == "file":
			p.file(it)
		default:
			p.Skipped = append(p.Skipped, fmt.Errorf("%s is a %s: not copied", it.Source(), e.Kind))
		}
	}
	return nil
}

func (p *Plan) walkLocal(ctx context.Context, from, to Place, rel string, o PlanOptions) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(orDot(from.join(rel).Path))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if stage.IsTemporary(e.Name()) {
			p.Parts++ // a copy under way, or what a cut off one left
			continue
		}
		it := Item{From: from, To: to, Rel: path.Join(rel, e.Name())}
		mode, size, err := look(it.Source().Path, e, o.Dereference)
		switch {
		case err != nil:
			p.Skipped = append(p.Skipped, err)
		case mode.IsDir():
			it.Dir = true
			p.Items = append(p.Items, it)
			if err := p.walkLocal(ctx, from, to, it.Rel, o); err != nil {
				p.Skipped = append(p.Skipped, err)
			}
		case mode.IsRegular():
			it.Size = size
			p.file(it)
		case mode&fs.ModeSymlink != 0:
			p.Skipped = append(p.Skipped, fmt.Errorf("%s is a symbolic link: not copied (-L copies what links point to)", it.Source()))
		default:
			p.Skipped = append(p.Skipped, fmt.Errorf("%s is no regular file: not copied", it.Source()))
		}
	}
	return nil
}

// look returns what a directory entry is; with follow, what it points to.
func look(name string, e fs.DirEntry, follow bool) (fs.FileMode, int64, error) {
	if follow && e.Type()&fs.ModeSymlink != 0 {
		fi, err := os.Stat(name)
		if err != nil {
			return 0, 0, err
		}
		return fi.Mode(), fi.Size(), nil
	}
	fi, err := e.Info()
	if err != nil {
		return 0, 0, err
	}
	return fi.Mode(), fi.Size(), nil
}
