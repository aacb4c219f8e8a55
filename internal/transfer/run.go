package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/efs-project/efs/client"
	"github.com/efs-project/efs/internal/counted"
	"github.com/efs-project/efs/internal/stage"
)

var recursively = client.ListOptions{Recursive: true}

// DefaultWorkers is how many files travel at once by default.
const DefaultWorkers = 8

// Options says how a plan is carried out.
type Options struct {
	Workers     int                    // files at once, DefaultWorkers by default
	NoOverwrite bool                   // leave what is at the target as it is
	Progress    func(delta int64)      // bytes that travelled; called by several goroutines
	Failed      func(it Item, e error) // one item failed; the others go on. Calls do not overlap
	Copied      func(it Item)          // one file is in place. Calls do not overlap
}

// Result counts what was done.
type Result struct {
	Files, Kept, Failed int
	Bytes               int64
}

// Run carries out a plan. Items that fail are reported and counted; the error
// is ctx's alone.
func Run(ctx context.Context, p *Plan, o Options) (Result, error) {
	r := &run{o: o, roots: map[string]*os.Root{}, filled: p.filled()}
	defer r.close()
	// Directories come first and one after the other: they are few, quick and
	// depend on each other.
	for _, it := range p.Items {
		if it.Dir && ctx.Err() == nil {
			r.report(it, r.makeDir(ctx, it))
		}
	}
	work := make(chan Item)
	var workers sync.WaitGroup
	for range max(1, min(orDefault(o.Workers), p.Files)) {
		workers.Go(func() {
			for it := range work {
				r.report(it, r.copyFile(ctx, it))
			}
		})
	}
	for _, it := range p.Items {
		if it.Dir {
			continue
		}
		select {
		case work <- it:
		case <-ctx.Done():
		}
	}
	close(work)
	workers.Wait()
	return r.result, ctx.Err()
}

func orDefault(workers int) int {
	if workers <= 0 {
		return DefaultWorkers
	}
	return workers
}

// filled returns the target directories that files will bring into being.
func (p *Plan) filled() map[string]bool {
	dirs := map[string]bool{}
	for _, it := range p.Items {
		if t := it.Target(); !t.local() && !it.Dir {
			dirs[parent(t.String())] = true
		}
	}
	return dirs
}

func parent(p string) string { return p[:strings.LastIndexByte(p, '/')+1] }

type run struct {
	o      Options
	filled map[string]bool

	mu     sync.Mutex
	result Result
	roots  map[string]*os.Root
}

// errKept says that an item's target was there and stays.
var errKept = errors.New("kept")

func (r *run) report(it Item, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case errors.Is(err, errKept):
		r.result.Kept++
	case err != nil:
		r.result.Failed++
		if r.o.Failed != nil {
			r.o.Failed(it, err)
		}
	case !it.Dir:
		r.result.Files++
		r.result.Bytes += it.Size
		if r.o.Copied != nil {
			r.o.Copied(it)
		}
	}
}

// makeDir makes a directory that no file will bring into being by itself.
func (r *run) makeDir(ctx context.Context, it Item) error {
	to := it.Target()
	if to.local() {
		root, err := r.root(it.To.Path)
		if err != nil || it.Rel == "" {
			return err
		}
		rel, err := filepath.Localize(it.Rel)
		if err != nil {
			return fmt.Errorf("%s cannot be a name on this machine: %w", it.Rel, err)
		}
		return root.MkdirAll(rel, 0o777)
	}
	if r.filled[to.String()+"/"] || strings.Trim(to.Path, "/") == "" {
		return nil
	}
	err := to.Client.Mkdir(ctx, to.Path, client.MkdirOptions{})
	if errors.Is(err, client.ErrExists) {
		if have, serr := to.stat(ctx); serr == nil && have.dir {
			return nil
		}
	}
	return err
}

// root opens the directory that a local tree is written below, making it if
// need be. Nothing is written outside it, whatever names the other side sends.
func (r *run) root(dir string) (*os.Root, error) {
	dir = orDot(dir)
	r.mu.Lock()
	defer r.mu.Unlock()
	if root := r.roots[dir]; root != nil {
		return root, nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err == nil {
		r.roots[dir] = root
	}
	return root, err
}

func (r *run) close() {
	for _, root := range r.roots {
		_ = root.Close() // a handle to a directory
	}
}

// copyFile copies one file.
func (r *run) copyFile(ctx context.Context, it Item) error {
	from, to := it.Source(), it.Target()
	switch {
	case to.local():
		return r.download(ctx, it)
	case from.local():
		return r.upload(ctx, from, to)
	case from.Remote == to.Remote:
		err := to.Client.Copy(ctx, from.Path, to.Path, client.MoveOptions{NoOverwrite: r.o.NoOverwrite})
		r.progress(it.Size)
		return r.keptIfThere(err)
	}
	return r.relay(ctx, from, to)
}

func (r *run) progress(n int64) {
	if r.o.Progress != nil {
		r.o.Progress(n)
	}
}

// keptIfThere reads a refusal to overwrite as what was asked for.
func (r *run) keptIfThere(err error) error {
	if r.o.NoOverwrite && (errors.Is(err, client.ErrExists) || errors.Is(err, client.ErrPrecondition)) {
		return errKept
	}
	return err
}

func (r *run) upload(ctx context.Context, from, to Place) error {
	f, err := os.Open(from.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = to.Client.Put(ctx, to.Path, f, client.PutOptions{IfNoneMatch: r.o.NoOverwrite, Progress: r.o.Progress})
	return r.keptIfThere(err)
}

// relay copies from one file system to another through this machine's memory.
func (r *run) relay(ctx context.Context, from, to Place) error {
	body, err := from.Client.Get(ctx, from.Path)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = to.Client.Put(ctx, to.Path, body, client.PutOptions{
		Type: body.Entry.Type, Meta: body.Entry.Meta, Size: body.Entry.Size, SHA256: body.Entry.SHA256,
		IfNoneMatch: r.o.NoOverwrite, Progress: r.o.Progress,
	})
	return r.keptIfThere(err)
}

// download receives a file under a temporary name and gives it its own when
// all of it is there, right and durable.
func (r *run) download(ctx context.Context, it Item) error {
	f, err := r.receive(it)
	if err != nil {
		return err
	}
	if err := r.fetch(ctx, it.Source(), f); err != nil {
		f.Abort()
		return err
	}
	return f.Commit()
}

func (r *run) receive(it Item) (Receiver, error) {
	if it.Rel == "" {
		return Receive(it.To.Path, r.o.NoOverwrite)
	}
	root, err := r.root(it.To.Path)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Localize(it.Rel)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be a name on this machine: %w", it.Rel, err)
	}
	if r.o.NoOverwrite {
		if _, err := root.Lstat(rel); err == nil {
			return nil, errKept
		}
	}
	return stage.CreateIn(root, rel, 0o666)
}

func (r *run) fetch(ctx context.Context, from Place, w io.Writer) error {
	body, err := from.Client.Get(ctx, from.Path)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(&counted.Writer{W: w, Told: r.progress}, body)
	return err
}
