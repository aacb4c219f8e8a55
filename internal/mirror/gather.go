package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/efs-project/efs/internal/treesync"
)

// listings are what both sides have, in treesync.Order.
type listings struct {
	source, dest []treesync.Node
	incomplete   bool // of the source something is not known
	part         bool // of a part of the trees
}

// listAll lists both trees, side by side, and reads the memory of them.
func (m *Mirror) listAll(ctx context.Context) (*listings, error) {
	var l listings
	var srcErr, dstErr, memErr error
	var wg sync.WaitGroup
	if !m.loaded {
		wg.Go(func() {
			var id string
			if id, memErr = m.identity(ctx); memErr == nil {
				memErr = m.mem.s.Load(id)
			}
		})
	}
	wg.Go(func() {
		l.source, srcErr = m.listSide(ctx, m.src, "", true, &l.incomplete)
	})
	wg.Go(func() {
		var ignored bool
		l.dest, dstErr = m.listSide(ctx, m.dst, "", true, &ignored)
		if errors.Is(dstErr, errNotThere) {
			dstErr = nil
		}
	})
	wg.Wait()
	if errors.Is(srcErr, errNotThere) {
		srcErr = fmt.Errorf("%s: %w", m.src.name(""), srcErr)
	}
	if err := errors.Join(srcErr, dstErr, memErr); err != nil {
		return nil, err
	}
	m.loaded = true
	m.remembered(m.src, l.source)
	m.remembered(m.dst, l.dest)
	return &l, nil
}

// identity tells the file systems from others that have had the same names,
// of which nothing that is remembered counts.
func (m *Mirror) identity(ctx context.Context) (string, error) {
	if m.o.StateDir == "" {
		return "", nil
	}
	var ids []string
	for _, s := range []side{m.src, m.dst} {
		r, ok := s.(*remote)
		if !ok {
			continue
		}
		id, err := r.c.FileSystemID(ctx)
		if err != nil || id == "" {
			return "", err
		}
		ids = append(ids, id)
	}
	if m.o.Backward {
		slices.Reverse(ids)
	}
	return strings.Join(ids, " "), nil
}

// remembered fills in the digests of local files that were not touched, unless
// every file is to be read.
func (m *Mirror) remembered(s side, nodes []treesync.Node) {
	if _, ok := s.(*local); ok && !m.o.Checksum && !m.o.RemoveSource {
		m.mem.known(nodes)
	}
}

// listSide lists a directory of a side, in order.
func (m *Mirror) listSide(ctx context.Context, s side, dir string, deep bool, incomplete *bool) ([]treesync.Node, error) {
	if l, ok := s.(*local); ok {
		if err := l.refresh(); err != nil {
			return nil, err
		}
	}
	nodes, err := s.list(ctx, dir, deep, m.o.Filter, func(err error) {
		if !errors.Is(err, errUnfit) {
			*incomplete = true
		}
		m.trouble(err)
	})
	if err != nil {
		return nil, err
	}
	if r, ok := s.(*remote); ok && s == m.src && m.o.Delete && !m.o.Force && r.isPart() {
		// A grant that was taken away looks like a deletion.
		*incomplete = true
		m.narrowed.Do(func() { m.trouble(fmt.Errorf("%s: %w", s.name(""), errNarrowed)) })
	}
	treesync.Sort(nodes)
	return nodes, nil
}

var errNarrowed = errors.New("it shows only what was granted, so that nothing is deleted: name a directory that was granted, or --force")

// readDigests reads what has to be read to compare: local files that were
// touched, all of them where Checksum says so, and then those of a file system
// too that keeps no digest of a whole file.
func (m *Mirror) readDigests(ctx context.Context, l *listings) error {
	type job struct {
		n *treesync.Node
		s side
	}
	var jobs []job
	treesync.Unread(l.source, l.dest, m.mem.base, m.o.Delete, func(n *treesync.Node, ofSource bool) {
		s := m.dst
		if ofSource {
			s = m.src
		}
		if _, isLocal := s.(*local); isLocal || m.o.Checksum {
			jobs = append(jobs, job{n, s})
		}
	})
	return m.parallel(ctx, len(jobs), func(i int) {
		j, at := jobs[i], time.Now()
		d, err := j.s.digest(ctx, j.n)
		if err != nil {
			if ctx.Err() == nil {
				m.trouble(err) // it counts as changed
			}
			return
		}
		j.n.Digest = d
		if _, isLocal := j.s.(*local); isLocal {
			m.mem.read(j.n.Path, j.n.Stamp, d, at)
		}
	})
}

// parallel calls do with 0 … n-1 from several goroutines, until ctx ends.
func (m *Mirror) parallel(ctx context.Context, n int, do func(i int)) error {
	work := make(chan int)
	var wg sync.WaitGroup
	for range min(m.o.Workers, n) {
		wg.Go(func() {
			for i := range work {
				do(i)
			}
		})
	}
	for i := range n {
		select {
		case work <- i:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
	}
	close(work)
	wg.Wait()
	return ctx.Err()
}
