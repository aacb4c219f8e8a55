package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/efs-project/efs/internal/fsys"
	"github.com/efs-project/efs/internal/node"
	"github.com/efs-project/efs/internal/starter"
)

// fillers is how many files are stored at once where nothing is measured: so
// many share each commit.
const fillers = 512

// fill stores so many files, whose numbers order tells, as the server does,
// each synced and confirmed, but without HTTPS: the server is stopped, and this
// process opens the root in its place.
func (s *server) fill(ctx context.Context, what string, files int, order func(int) int, path func(int) string) (took time.Duration, err error) {
	old := debug.SetGCPercent(400)
	defer func() {
		debug.SetGCPercent(old)
		debug.FreeOSMemory()
	}()
	key, err := starter.Find(s.root(), starter.Source{File: s.keyFile()})
	if err != nil {
		return 0, err
	}
	nd, err := node.New(ctx, node.Config{Root: s.root(), Key: key, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, nd.Close()) }()
	fs, err := nd.FS(fsName)
	if err != nil {
		return 0, err
	}
	random := make([]byte, fileSize)
	rand.Read(random)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	begun := time.Now()
	stop := progress(what, files, func() int { return min(int(next.Load()), files) })
	defer stop()
	var wg sync.WaitGroup
	for range fillers {
		wg.Go(func() {
			body := slices.Clone(random)
			for i := int(next.Add(1)) - 1; i < files && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				n := order(i)
				stamp(body, n)
				o := fsys.PutOptions{Who: fsys.Who{User: user}, Size: fileSize}
				if _, err := fs.Put(ctx, path(n), bytes.NewReader(body), o); err != nil {
					cancel(fmt.Errorf("storing %s: %w", path(n), err))
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(begun), context.Cause(ctx)
}
